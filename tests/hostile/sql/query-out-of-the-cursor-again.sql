-- stops: syntax_error
-- via: query
SELECT 1 FOR READ ONLY) AS t (a
