-- stops: insufficient_privilege
CREATE ACCESS METHOD evil TYPE INDEX HANDLER bthandler;
