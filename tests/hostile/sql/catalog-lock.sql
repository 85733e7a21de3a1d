-- stops: insufficient_privilege
LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE;
