CREATE TABLE p (a int CHECK (take() > 0));
CREATE TABLE t (b int) INHERITS (p);
INSERT INTO t VALUES (1);
