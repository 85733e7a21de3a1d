-- PostgreSQL's own functions do no less for that: here one says whose rights the check has.
CREATE TABLE t (a int CHECK (NOT pg_has_role('ikoma', 'MEMBER') AND current_user <> 'ikoma'));
INSERT INTO t VALUES (1);
