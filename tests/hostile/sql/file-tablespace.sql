-- stops: insufficient_privilege
-- via: login
CREATE TABLESPACE t LOCATION '{folder}';
