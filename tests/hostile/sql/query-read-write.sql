-- stops: active_sql_transaction
-- via: query
SELECT set_config('transaction_read_only', 'off', false)
