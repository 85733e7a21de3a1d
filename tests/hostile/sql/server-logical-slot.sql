-- stops: insufficient_privilege
SELECT pg_create_logical_replication_slot('evil', 'pgoutput');
