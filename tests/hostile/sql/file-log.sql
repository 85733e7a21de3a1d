-- stops: insufficient_privilege
SELECT pg_current_logfile();
