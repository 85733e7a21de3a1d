-- stops: code:not_a_query
-- via: query
EXPLAIN (ANALYZE) EXECUTE p
