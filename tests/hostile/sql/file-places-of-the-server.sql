-- stops: insufficient_privilege
-- via: query
SHOW data_directory
