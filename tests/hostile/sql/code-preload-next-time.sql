-- stops: insufficient_privilege
ALTER ROLE CURRENT_USER SET session_preload_libraries = '{file}';
