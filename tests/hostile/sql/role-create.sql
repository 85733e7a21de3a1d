-- stops: insufficient_privilege
CREATE ROLE another LOGIN;
