-- stops: code:sql_failed
COPY (SELECT 'x') TO STDOUT;
