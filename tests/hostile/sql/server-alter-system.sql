-- stops: insufficient_privilege
-- via: login
ALTER SYSTEM SET listen_addresses = '*';
