-- stops: insufficient_privilege
ALTER ROLE ALL SET search_path = 'evil';
