-- stops: insufficient_privilege
CREATE EXTENSION dblink;
SELECT * FROM dblink('dbname=bank', 'TABLE accounts') AS t (a text);
