-- stops: insufficient_privilege
SET SESSION AUTHORIZATION ikoma;
