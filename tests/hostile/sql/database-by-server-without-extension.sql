-- stops: undefined_object
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'bank');
