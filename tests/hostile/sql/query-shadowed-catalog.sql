-- harmless: its own functions run as itself
-- via: query
-- expect: => [["shop"]]
CREATE FUNCTION public.format_type(oid, int) RETURNS text LANGUAGE sql AS 'SELECT ''evil''';
ALTER ROLE CURRENT_USER SET search_path = 'public, pg_catalog';
-- then query
SELECT current_user::text
