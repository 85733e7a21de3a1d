-- stops: insufficient_privilege
CREATE FUNCTION f() RETURNS int LANGUAGE sql SET log_statement = 'all' AS 'SELECT 1';
