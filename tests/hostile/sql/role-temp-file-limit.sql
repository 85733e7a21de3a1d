-- stops: insufficient_privilege
ALTER ROLE CURRENT_USER SET temp_file_limit = -1;
