-- stops: code:not_a_query
-- via: query
SELECT 1{nul}; DROP TABLE accounts
