-- stops: insufficient_privilege
SELECT pg_read_file('postgresql.conf');
