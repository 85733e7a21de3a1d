-- stops: code:not_a_query
-- via: query
SELECT $a$ ; $b$ $a$; DROP TABLE accounts; SELECT $b$ $b$
