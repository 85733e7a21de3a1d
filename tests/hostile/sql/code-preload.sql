-- stops: insufficient_privilege
SET session_preload_libraries = '{file}';
