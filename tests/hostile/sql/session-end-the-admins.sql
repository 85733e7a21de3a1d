-- stops: insufficient_privilege
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ikoma';
