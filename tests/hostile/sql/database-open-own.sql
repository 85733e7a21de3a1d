-- harmless: it opens what is its own, and only to roles that may log in nowhere but at home
-- via: seed
-- expect: SELECT has_database_privilege('bank', 'shop', 'CONNECT') => [[false]]
GRANT CONNECT ON DATABASE shop TO bank;
