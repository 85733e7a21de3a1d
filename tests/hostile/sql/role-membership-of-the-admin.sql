-- stops: insufficient_privilege
GRANT ikoma TO CURRENT_USER;
