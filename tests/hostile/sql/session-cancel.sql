-- stops: insufficient_privilege
SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'bank';
