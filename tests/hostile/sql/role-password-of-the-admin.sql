-- stops: insufficient_privilege
ALTER ROLE ikoma PASSWORD 'known';
