-- Drops all that an app can have made, so that what follows meets an empty database.
SET LOCAL lock_timeout = '60s';
DO $clear$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT evtname AS name FROM pg_event_trigger LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', item.name);
    END LOOP;
    FOR item IN SELECT pubname AS name FROM pg_publication LOOP
        EXECUTE format('DROP PUBLICATION %I', item.name);
    END LOOP;
    FOR item IN SELECT extname AS name FROM pg_extension WHERE extname <> 'plpgsql' LOOP
        EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', item.name);
    END LOOP;
    FOR item IN SELECT nspname AS name FROM pg_namespace
                WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', item.name);
    END LOOP;
    FOR item IN SELECT srvname AS name FROM pg_foreign_server LOOP
        EXECUTE format('DROP SERVER %I CASCADE', item.name);
    END LOOP;
    FOR item IN SELECT fdwname AS name FROM pg_foreign_data_wrapper LOOP
        EXECUTE format('DROP FOREIGN DATA WRAPPER %I CASCADE', item.name);
    END LOOP;
    FOR item IN SELECT castsource::regtype AS source, casttarget::regtype AS target FROM pg_cast
                WHERE oid >= 16384 LOOP
        EXECUTE format('DROP CAST (%s AS %s)', item.source, item.target);
    END LOOP;
    FOR item IN SELECT pg_get_userbyid(defaclrole) AS role, nspname AS schema, acl.grantee,
                       CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind
                FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,
                     aclexplode(defaclacl) AS acl LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM %s', item.role, item.kind,
                       CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(item.grantee)) END);
    END LOOP;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    COMMENT ON SCHEMA public IS 'standard public schema';
    GRANT USAGE ON SCHEMA public TO PUBLIC;
END
$clear$;
