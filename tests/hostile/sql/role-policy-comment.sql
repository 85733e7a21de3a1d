-- stops: insufficient_privilege
COMMENT ON ROLE shop IS 'IKOMA app bank';
