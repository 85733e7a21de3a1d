-- stops: insufficient_privilege
CREATE FOREIGN DATA WRAPPER mine;
