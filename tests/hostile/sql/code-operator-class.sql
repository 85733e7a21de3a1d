-- stops: insufficient_privilege
CREATE OPERATOR CLASS evil DEFAULT FOR TYPE int USING btree AS FUNCTION 1 btint4cmp(int, int);
