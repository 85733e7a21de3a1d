-- stops: read_only_sql_transaction
-- via: query
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN CREATE TEMPORARY TABLE t (); RETURN 1; END';
-- then query
SELECT f()
