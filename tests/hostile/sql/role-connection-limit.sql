-- stops: insufficient_privilege
ALTER ROLE CURRENT_USER CONNECTION LIMIT -1;
