-- harmless: locks are of one database
-- via: seed
-- expect: SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database <> (SELECT oid FROM pg_database WHERE datname = 'shop') => [[0]]
SELECT pg_advisory_lock(1);
