-- harmless: it is passed over with a warning
-- via: login
-- expect: SELECT has_table_privilege('pg_authid', 'MAINTAIN') => [[false]]
VACUUM pg_authid;
