-- stops: insufficient_privilege
ALTER ROLE bank SET search_path = 'evil';
