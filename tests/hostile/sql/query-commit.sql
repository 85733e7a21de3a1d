-- stops: code:not_a_query
-- via: query
COMMIT
