-- stops: insufficient_privilege
SET log_min_messages = debug5;
