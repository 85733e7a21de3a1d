-- harmless: nor where it comes from
-- via: query
-- expect: => [[0]]
SELECT count(*) FROM pg_stat_activity WHERE usename = 'bank' AND client_addr IS NOT NULL
