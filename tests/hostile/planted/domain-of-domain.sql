CREATE DOMAIN inner_d AS int CHECK (take() > 0);
CREATE DOMAIN outer_d AS inner_d CHECK (VALUE > 0);
CREATE DOMAIN plain_d AS text CHECK (VALUE ~ '^[a-z]+$' AND length(VALUE) < 9);
CREATE TABLE t (a outer_d, b plain_d);
INSERT INTO t VALUES (1, 'x'), (NULL, NULL);
CREATE TABLE u (a outer_d[], b plain_d[]);
INSERT INTO u VALUES ('{1}', '{a,b}');
