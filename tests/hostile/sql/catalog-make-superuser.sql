-- stops: insufficient_privilege
UPDATE pg_authid SET rolsuper = true;
