-- stops: code:not_a_query
-- via: query
CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
-- then query
CALL p()
