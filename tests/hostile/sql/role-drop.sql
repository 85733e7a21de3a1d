-- stops: insufficient_privilege
DROP ROLE bank;
