-- stops: code:not_a_query
-- via: query
EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1
