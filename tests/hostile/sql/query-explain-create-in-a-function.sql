-- harmless: PostgreSQL lets EXPLAIN create a table even where nothing may be written; it never is committed
-- via: query
-- expect: SELECT count(*) FROM pg_class WHERE relname = 'kept' => [[0]]
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'EXPLAIN ANALYZE CREATE TABLE kept AS SELECT 1';
    RETURN 1;
END $$;
-- then query
SELECT f()
