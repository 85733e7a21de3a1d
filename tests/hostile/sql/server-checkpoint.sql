-- stops: insufficient_privilege
CHECKPOINT;
