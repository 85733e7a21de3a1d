-- stops: insufficient_privilege
ALTER EXTENSION plpgsql ADD SCHEMA public;
