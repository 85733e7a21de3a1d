-- stops: insufficient_privilege
SELECT pg_stat_file('{file}');
