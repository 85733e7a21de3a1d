CREATE EXTENSION btree_gist;
CREATE TABLE t (a int, EXCLUDE USING gist (taken(a) WITH <>));
INSERT INTO t VALUES (1);
