-- stops: insufficient_privilege
CREATE VIEW v AS SELECT * FROM pg_authid;
ALTER VIEW v OWNER TO ikoma;
