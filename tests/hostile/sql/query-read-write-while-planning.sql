-- stops: active_sql_transaction
-- via: query
CREATE TABLE t (a int);
CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    SET TRANSACTION READ WRITE;
    INSERT INTO t VALUES (1);
    RETURN 1;
END $$;
CREATE FUNCTION f() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN g(); END';
-- then query
SELECT f()
