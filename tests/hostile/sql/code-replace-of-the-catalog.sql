-- stops: insufficient_privilege
CREATE OR REPLACE FUNCTION pg_catalog.upper(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
