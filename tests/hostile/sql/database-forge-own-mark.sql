-- stops: insufficient_privilege
COMMENT ON DATABASE shop IS 'IKOMA app bank';
