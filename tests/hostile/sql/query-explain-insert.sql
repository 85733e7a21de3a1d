-- stops: code:not_a_query
-- via: query
CREATE TABLE t (a int);
-- then query
EXPLAIN ANALYZE INSERT INTO t VALUES (1)
