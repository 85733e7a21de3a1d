-- stops: insufficient_privilege
SELECT pg_read_binary_file('{file}');
