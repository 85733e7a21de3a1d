-- stops: invalid_transaction_termination
DO $$ BEGIN COMMIT; END $$;
