-- stops: insufficient_privilege
SELECT pg_stat_reset_shared('bgwriter');
