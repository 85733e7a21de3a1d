-- stops: read_only_sql_transaction
-- via: query
CREATE TABLE t (a int);
-- then query
SELECT * FROM t FOR UPDATE
