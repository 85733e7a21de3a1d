CREATE DOMAIN d AS int CHECK (take() > 0);
CREATE TYPE r AS (x d, y text);
CREATE TABLE t (a r);
INSERT INTO t VALUES (ROW(1, 'a "b" (c)'));
