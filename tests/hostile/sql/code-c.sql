-- stops: insufficient_privilege
CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc.so.6', 'system';
