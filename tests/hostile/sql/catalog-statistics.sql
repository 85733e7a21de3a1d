-- stops: insufficient_privilege
SELECT * FROM pg_statistic;
