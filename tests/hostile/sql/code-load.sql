-- stops: insufficient_privilege
LOAD '{file}';
