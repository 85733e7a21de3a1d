-- stops: insufficient_privilege
UPDATE pg_proc SET proowner = 10 WHERE proowner <> 10;
