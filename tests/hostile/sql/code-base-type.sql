-- stops: insufficient_privilege
CREATE TYPE evil;
CREATE TYPE evil (INPUT = array_in, OUTPUT = array_out);
