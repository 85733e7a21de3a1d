-- stops: insufficient_privilege
DROP OWNED BY bank;
