-- stops: insufficient_privilege
SET ROLE bank;
