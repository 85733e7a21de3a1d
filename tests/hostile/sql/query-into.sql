-- stops: code:not_a_query, syntax_error, invalid_cursor_definition
-- via: query
SELECT 1 AS a INTO t
