-- stops: insufficient_privilege
-- via: query
TABLE pg_authid
