-- stops: insufficient_privilege
ALTER ROLE bank VALID UNTIL '2000-01-01';
