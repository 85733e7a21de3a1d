-- stops: code:query_too_large, code:query_timeout
-- via: query
SELECT repeat('x', 100000000)
