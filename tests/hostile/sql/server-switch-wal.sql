-- stops: insufficient_privilege
SELECT pg_switch_wal();
