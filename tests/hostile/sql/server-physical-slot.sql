-- stops: insufficient_privilege
SELECT pg_create_physical_replication_slot('evil');
