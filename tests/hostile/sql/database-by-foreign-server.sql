-- stops: insufficient_privilege
CREATE EXTENSION postgres_fdw;
