-- stops: insufficient_privilege
UPDATE pg_database SET datallowconn = false;
