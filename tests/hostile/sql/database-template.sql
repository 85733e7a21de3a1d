-- stops: insufficient_privilege
ALTER DATABASE shop IS_TEMPLATE true;
