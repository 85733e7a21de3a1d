-- stops: code:query_timeout
-- via: query
SELECT pg_sleep(1000)
