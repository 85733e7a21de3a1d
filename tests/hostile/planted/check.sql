CREATE TABLE t (id int CHECK (take() > 0));
INSERT INTO t VALUES (1), (2), (NULL);
