-- stops: read_only_sql_transaction
-- via: query
CREATE SEQUENCE s;
-- then query
SELECT nextval('s')
