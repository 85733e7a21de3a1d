-- stops: code:sql_failed
CREATE TABLE kept ();
PREPARE TRANSACTION 'evil';
