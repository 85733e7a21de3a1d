-- stops: insufficient_privilege
ALTER DATABASE shop SET session_preload_libraries = 'x';
