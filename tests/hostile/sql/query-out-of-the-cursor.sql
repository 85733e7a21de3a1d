-- stops: syntax_error
-- via: query
SELECT 1) TO STDOUT
