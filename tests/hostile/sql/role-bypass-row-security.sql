-- stops: insufficient_privilege
ALTER ROLE CURRENT_USER BYPASSRLS;
