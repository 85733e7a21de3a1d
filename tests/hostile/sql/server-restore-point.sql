-- stops: insufficient_privilege
SELECT pg_create_restore_point('x');
