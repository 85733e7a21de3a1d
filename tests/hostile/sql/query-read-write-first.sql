-- stops: active_sql_transaction
-- via: query
CREATE TABLE t (a int);
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    SET TRANSACTION READ WRITE;
    INSERT INTO t VALUES (1);
    RETURN 1;
END $$;
-- then query
SELECT f()
