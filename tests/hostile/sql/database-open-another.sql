-- stops: insufficient_privilege
GRANT CONNECT ON DATABASE bank TO shop;
