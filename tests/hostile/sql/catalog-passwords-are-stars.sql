-- harmless: it shows stars for everybody
-- via: query
-- expect: => [["********"]]
SELECT DISTINCT passwd FROM pg_user
