-- stops: insufficient_privilege
CREATE RULE r AS ON INSERT TO pg_class DO INSTEAD NOTHING;
