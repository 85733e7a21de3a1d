-- stops: code:sql_failed
\connect bank
SELECT * FROM accounts;
