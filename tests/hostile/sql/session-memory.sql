-- stops: insufficient_privilege
SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE usename = 'bank';
