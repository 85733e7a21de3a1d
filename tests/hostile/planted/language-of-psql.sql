CREATE TABLE t (a text);
INSERT INTO t VALUES (E'\\.'), (E'\n\\.\n'), (E'\\! touch'), (E'\\gset');
