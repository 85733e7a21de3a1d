-- stops: insufficient_privilege
ALTER DATABASE shop RENAME TO bank2;
