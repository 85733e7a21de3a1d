-- stops: insufficient_privilege
-- via: login
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={port} dbname=bank' PUBLICATION p;
