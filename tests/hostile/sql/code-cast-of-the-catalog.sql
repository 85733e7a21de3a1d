-- stops: insufficient_privilege
CREATE CAST (text AS int) WITHOUT FUNCTION;
