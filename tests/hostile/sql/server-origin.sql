-- stops: insufficient_privilege
SELECT pg_replication_origin_create('evil');
