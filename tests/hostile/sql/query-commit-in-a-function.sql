-- stops: invalid_transaction_termination
-- via: query
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN COMMIT; RETURN 1; END';
-- then query
SELECT f()
