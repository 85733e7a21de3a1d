-- stops: insufficient_privilege
CREATE FUNCTION f(name) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE INDEX ON pg_class (f(relname));
