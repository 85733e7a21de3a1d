-- stops: insufficient_privilege
ALTER ROLE bank PASSWORD 'known';
