-- stops: read_only_sql_transaction
-- via: query
CREATE TABLE t (a int);
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a';
-- then query
SELECT f()
