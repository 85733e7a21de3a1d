-- stops: insufficient_privilege
DROP TABLE pg_catalog.pg_class;
