-- stops: insufficient_privilege
SET log_statement = 'all';
