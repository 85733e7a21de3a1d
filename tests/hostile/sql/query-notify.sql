-- harmless: what is said in a transaction that never ends well is not heard
-- via: query
-- expect: => [[""]]
SELECT pg_notify('canary', 'x')
