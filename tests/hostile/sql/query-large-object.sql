-- stops: read_only_sql_transaction
-- via: query
SELECT lo_create(0)
