-- harmless: a database hears only its own
-- via: seed
-- expect: SELECT count(*) FROM pg_listening_channels() => [[0]]
NOTIFY canary, 'x';
