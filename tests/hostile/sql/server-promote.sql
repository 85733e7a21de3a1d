-- stops: insufficient_privilege
SELECT pg_promote();
