-- stops: insufficient_privilege
SET session_replication_role = replica;
