-- stops: insufficient_privilege
ALTER DEFAULT PRIVILEGES FOR ROLE ikoma GRANT ALL ON TABLES TO shop;
