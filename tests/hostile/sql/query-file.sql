-- stops: insufficient_privilege
-- via: query
SELECT pg_read_file('{file}')
