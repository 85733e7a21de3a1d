-- stops: insufficient_privilege
SET temp_file_limit = -1;
