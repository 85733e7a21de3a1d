-- stops: invalid_cursor_state, object_in_use
-- via: query
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CLOSE ikoma_query'; RETURN 1; END $$;
-- then query
SELECT f()
