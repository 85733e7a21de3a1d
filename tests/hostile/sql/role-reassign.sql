-- stops: insufficient_privilege
REASSIGN OWNED BY bank TO shop;
