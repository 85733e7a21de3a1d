-- stops: code:query_too_large, code:query_timeout
-- via: query
SELECT repeat('x', 30000000) AS a, repeat('y', 30000000) AS b, repeat('z', 30000000) AS c
