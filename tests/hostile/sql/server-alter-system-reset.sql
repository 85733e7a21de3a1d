-- stops: insufficient_privilege
-- via: login
ALTER SYSTEM RESET ALL;
