-- stops: code:not_a_query
-- via: query
COPY (SELECT 1) TO STDOUT
