-- stops: insufficient_privilege
SELECT pg_rotate_logfile();
