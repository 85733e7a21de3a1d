-- stops: insufficient_privilege
CREATE PUBLICATION p FOR ALL TABLES;
