-- stops: insufficient_privilege
SELECT * FROM pg_user_mapping;
