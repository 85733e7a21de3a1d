-- stops: insufficient_privilege
ALTER DATABASE bank OWNER TO shop;
