-- stops: insufficient_privilege
COMMENT ON DATABASE bank IS 'IKOMA app shop';
