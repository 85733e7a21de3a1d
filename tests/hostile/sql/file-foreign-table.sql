-- stops: insufficient_privilege
CREATE EXTENSION file_fdw;
