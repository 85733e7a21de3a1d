-- stops: code:query_timeout
-- via: query
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a FROM t) SELECT max(a) FROM t
