-- stops: insufficient_privilege
GRANT pg_execute_server_program TO CURRENT_USER;
