-- stops: insufficient_privilege
ALTER SCHEMA pg_catalog RENAME TO evil;
