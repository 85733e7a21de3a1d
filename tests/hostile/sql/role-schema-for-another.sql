-- stops: insufficient_privilege
CREATE SCHEMA s AUTHORIZATION ikoma;
