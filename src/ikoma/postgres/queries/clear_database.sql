-- Drops all that an app can have made, so that what follows meets an empty database.
SET LOCAL lock_timeout = '60s';
DO $clear$
DECLARE
    item record;
    grantee text;
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
    -- Those for one schema went with it. The others go when they say what holds without them.
    FOR item IN SELECT pg_get_userbyid(defaclrole) AS role, defaclacl AS acl,
                       CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind
                FROM pg_default_acl LOOP
        FOR grantee IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                              ELSE quote_ident(pg_get_userbyid(a.grantee)) END FROM aclexplode(item.acl) AS a LOOP
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM %s', item.role, item.kind, grantee);
        END LOOP;
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT ALL ON %s TO %I', item.role, item.kind, item.role);
        IF item.kind IN ('FUNCTIONS', 'TYPES') THEN
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT ALL ON %s TO PUBLIC', item.role, item.kind);
        END IF;
    END LOOP;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
    CREATE SCHEMA public AUTHORIZATION {role};
    COMMENT ON SCHEMA public IS 'standard public schema';
    GRANT USAGE ON SCHEMA public TO PUBLIC;
END
$clear$;
