-- stops: insufficient_privilege
SELECT rolname, rolpassword FROM pg_authid;
