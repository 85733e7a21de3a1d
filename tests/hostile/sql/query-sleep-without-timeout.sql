-- stops: code:query_timeout
-- via: query
SELECT set_config('statement_timeout', '0', false), set_config('transaction_timeout', '0', false), pg_sleep(1000)
