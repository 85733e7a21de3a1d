-- stops: insufficient_privilege
-- via: login
CREATE DATABASE another TEMPLATE bank;
