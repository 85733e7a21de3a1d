-- stops: insufficient_privilege
CREATE PUBLICATION p FOR TABLES IN SCHEMA public;
