-- stops: insufficient_privilege
GRANT bank TO shop;
