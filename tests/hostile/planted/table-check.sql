CREATE TABLE t (a int, b int, CHECK (always(a) AND b > 0));
INSERT INTO t VALUES (1, 2);
