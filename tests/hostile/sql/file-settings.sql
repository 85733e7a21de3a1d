-- stops: insufficient_privilege
SELECT * FROM pg_file_settings;
