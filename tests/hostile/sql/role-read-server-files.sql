-- stops: insufficient_privilege
GRANT pg_read_server_files, pg_write_server_files TO CURRENT_USER;
