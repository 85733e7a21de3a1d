-- stops: insufficient_privilege
SELECT pg_reload_conf();
