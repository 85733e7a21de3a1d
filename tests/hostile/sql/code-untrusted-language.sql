-- stops: insufficient_privilege, feature_not_supported
CREATE EXTENSION plpython3u;
