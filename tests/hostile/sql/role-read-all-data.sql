-- stops: insufficient_privilege
GRANT pg_read_all_data, pg_monitor, pg_signal_backend TO CURRENT_USER;
