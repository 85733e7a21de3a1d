CREATE DOMAIN d AS text CHECK (take() > 0);
CREATE TABLE t (a d, b int);
INSERT INTO t VALUES ('x', 1), (E'tab\there\n\\.', NULL), (NULL, 3), ('''', 4);
