CREATE TABLE t (a int, b int GENERATED ALWAYS AS (taken(a)) STORED, c text);
INSERT INTO t VALUES (1, DEFAULT, 'x');
