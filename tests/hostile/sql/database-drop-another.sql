-- stops: insufficient_privilege
-- via: login
DROP DATABASE bank WITH (FORCE);
