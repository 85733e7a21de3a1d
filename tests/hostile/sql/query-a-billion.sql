-- harmless: only as many rows are fetched as were asked for
-- via: query
-- expect: => [[3]]
SELECT count(*) FROM (SELECT generate_series(1, 1000000000) LIMIT 3) AS few
