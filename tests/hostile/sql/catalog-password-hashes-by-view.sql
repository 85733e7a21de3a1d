-- stops: insufficient_privilege
SELECT * FROM pg_shadow;
