-- stops: code:not_a_query
-- via: query
EXPLAIN /* SELECT */ ANALYZE CREATE TABLE kept AS SELECT 1
