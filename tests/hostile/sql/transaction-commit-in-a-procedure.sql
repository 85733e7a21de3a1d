-- stops: invalid_transaction_termination
CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
CALL p();
