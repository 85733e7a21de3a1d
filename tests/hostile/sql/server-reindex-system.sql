-- stops: insufficient_privilege
-- via: login
REINDEX SYSTEM shop;
