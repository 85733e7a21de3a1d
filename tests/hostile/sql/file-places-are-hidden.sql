-- harmless: paths are not among the settings that it sees
-- via: query
-- expect: => [[0]]
SELECT count(*) FROM pg_settings WHERE setting LIKE '%/postgres/data%'
