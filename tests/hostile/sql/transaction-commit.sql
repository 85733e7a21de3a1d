-- stops: code:sql_failed
CREATE TABLE kept ();
COMMIT;
DROP TABLE kept;
