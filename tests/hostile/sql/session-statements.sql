-- harmless: the text of another's statement is not shown
-- via: query
-- expect: => [["<insufficient privilege>"]]
SELECT DISTINCT query FROM pg_stat_activity WHERE usename = 'bank'
