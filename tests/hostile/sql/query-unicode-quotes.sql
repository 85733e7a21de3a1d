-- stops: syntax_error, undefined_column
-- via: query
SELECT U&"\0027; DROP TABLE accounts; --" FROM pg_class
