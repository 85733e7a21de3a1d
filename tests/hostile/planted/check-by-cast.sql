CREATE TYPE mood AS ENUM ('a');
CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql AS 'SELECT public.take()';
CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood);
CREATE TABLE t (a mood CHECK (CAST(a AS int) > 0));
INSERT INTO t VALUES ('a');
