-- stops: code:not_a_query
-- via: query
SELECT 1 -- one
; DROP TABLE accounts --
