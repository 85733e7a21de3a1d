-- stops: code:not_a_query
-- via: query
SELECT '\'; DROP TABLE accounts; --'
