-- What follows was made by an app, and code of the app runs in it: defaults, checks, generated columns, functions in
-- indexes. None of it may run with the rights of whoever restores. SET ROLE would not do, for that code can reset it;
-- inside a function that runs with its owner's rights it cannot. So:
--   run(sql)       runs statements as the app's role;
--   lend_path()    gives the app's functions the search path that its database has, for as long as the restore takes:
--                  their bodies are read when they run, and PostgreSQL itself then has none of the app's schemas in it;
--   target(table)  says where COPY may put rows: into the table itself where that can run nothing of the app, else
--                  into a table of text, from which arrive() brings them in as the app's role. Rows that are refused
--                  wait for those of the other tables: a check may look there.
CREATE SCHEMA {schema};
CREATE TABLE {schema}.path (schemas text);
CREATE TABLE {schema}.setting (name text, value text);
CREATE TABLE {schema}.lent (routine oid);
CREATE FUNCTION {schema}.safe_type(kind oid) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $safe_type$
DECLARE
    found record;
BEGIN
    LOOP
        SELECT typtype, typelem, typcategory, typbasetype INTO found FROM pg_type WHERE oid = kind;
        IF found.typtype = 'd' THEN
            IF EXISTS (SELECT FROM pg_constraint WHERE contypid = kind AND contype = 'c'
                       AND {schema}.safe_expression(conbin::text) IS NOT TRUE) THEN
                RETURN false;
            END IF;
            kind := found.typbasetype;
        ELSIF found.typtype = 'b' AND found.typcategory = 'A' AND found.typelem <> 0 THEN
            kind := found.typelem;
        ELSE
            -- Functions of base types are a superuser's; those of ranges and rows can lead to any function.
            RETURN found.typtype IN ('b', 'e') OR kind < 16384;
        END IF;
    END LOOP;
END
$safe_type$;
CREATE FUNCTION {schema}.safe_expression(tree text) RETURNS boolean LANGUAGE sql
SET search_path = pg_catalog, pg_temp AS $safe_expression$
    SELECT NOT EXISTS (
        SELECT FROM regexp_matches(tree, '\{([A-Z_]+)', 'g') AS node
        WHERE node[1] NOT IN ('VAR', 'CONST', 'OPEXPR', 'FUNCEXPR', 'BOOLEXPR', 'NULLTEST', 'BOOLEANTEST', 'RELABELTYPE',
                              'SCALARARRAYOPEXPR', 'ARRAYEXPR', 'ARRAY', 'ARRAYCOERCEEXPR', 'COLLATEEXPR', 'COLLATE',
                              'CASEEXPR', 'CASE', 'CASEWHEN', 'WHEN', 'CASETESTEXPR', 'COALESCEEXPR', 'COALESCE',
                              'NULLIFEXPR', 'DISTINCTEXPR', 'MINMAXEXPR', 'MINMAX', 'COERCETODOMAINVALUE')
    ) AND NOT EXISTS (
        SELECT FROM (
            SELECT called[1]::oid AS id FROM regexp_matches(tree, ':(?:func|opfunc)id ([0-9]+)', 'g') AS called
            WHERE called[1] <> '0'
            UNION ALL
            SELECT oprcode::oid FROM regexp_matches(tree, ':opno ([0-9]+)', 'g') AS called
            LEFT JOIN pg_operator AS o ON o.oid = called[1]::oid
        ) AS used LEFT JOIN pg_proc AS p ON p.oid = used.id
        LEFT JOIN pg_language AS l ON l.oid = p.prolang
        WHERE (p.oid < 16384 AND p.provolatile = 'i' AND l.lanname = 'internal') IS NOT TRUE
    )
$safe_expression$;
CREATE FUNCTION {schema}.safe_table(wanted regclass) RETURNS boolean LANGUAGE sql
SET search_path = pg_catalog, pg_temp AS $safe_table$
    SELECT NOT EXISTS (SELECT FROM pg_class WHERE oid = wanted AND (relkind <> 'r' OR relhasrules))
       AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = wanted)
       AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = wanted)
       AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = wanted AND attnum > 0 AND NOT attisdropped
                       AND {schema}.safe_type(atttypid) IS NOT TRUE)
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = wanted AND contype = 'c'
                       AND {schema}.safe_expression(conbin::text) IS NOT TRUE)
       AND NOT EXISTS (SELECT FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                       WHERE a.attrelid = wanted AND a.attgenerated <> ''
                       AND {schema}.safe_expression(d.adbin::text) IS NOT TRUE)
       AND NOT EXISTS (SELECT FROM pg_partition_ancestors(wanted) AS above
                       JOIN pg_partitioned_table AS p ON p.partrelid = above.relid WHERE p.partexprs IS NOT NULL)
$safe_table$;
CREATE TABLE {schema}.awaited (number int GENERATED ALWAYS AS IDENTITY, relation text, columns text);
CREATE FUNCTION {schema}.make_runner() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $make_runner$
BEGIN
    -- Made anew each time: what has run as its owner has had no way to it, and would have none now.
    DROP FUNCTION IF EXISTS {schema}.as_app(text);
    CREATE FUNCTION {schema}.as_app(statements text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    AS 'BEGIN EXECUTE $1; SET CONSTRAINTS ALL IMMEDIATE; END';
    ALTER FUNCTION {schema}.as_app(text) OWNER TO {role};
    DROP FUNCTION IF EXISTS {schema}.put_as_app(text);
    EXECUTE concat('CREATE FUNCTION {schema}.put_as_app(statements text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER',
                   ' SET search_path TO ', (SELECT p.schemas FROM {schema}.path AS p),
                   ' AS ''BEGIN EXECUTE $1; SET CONSTRAINTS ALL IMMEDIATE; END''');
    ALTER FUNCTION {schema}.put_as_app(text) OWNER TO {role};
    PERFORM {schema}.lend_path();
END
$make_runner$;
CREATE FUNCTION {schema}.lend_path() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $lend_path$
DECLARE
    item record;
    schemas text := (SELECT p.schemas FROM {schema}.path AS p);
BEGIN
    FOR item IN
        SELECT p.oid AS routine, p.oid::regprocedure AS signature FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.oid >= 16384 AND p.prokind IN ('f', 'p') AND l.lanname NOT IN ('internal', 'c')
          AND p.pronamespace <> '{schema}'::regnamespace
          AND (p.proowner = '{role}'::regrole OR NOT p.prosecdef)
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS own WHERE own LIKE 'search\_path=%')
    LOOP
        EXECUTE concat('ALTER ROUTINE ', item.signature, ' SET search_path TO ', schemas);
        INSERT INTO {schema}.lent VALUES (item.routine);
    END LOOP;
END
$lend_path$;
CREATE FUNCTION {schema}.take_back() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $take_back$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT oid::regprocedure AS signature FROM pg_proc WHERE oid IN (SELECT routine FROM {schema}.lent) LOOP
        EXECUTE concat('ALTER ROUTINE ', item.signature, ' RESET search_path');
    END LOOP;
END
$take_back$;
CREATE FUNCTION {schema}.settle() RETURNS void LANGUAGE sql AS $settle$
    -- Code of the app may have changed what the session reads by.
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false), pg_catalog.set_config('client_encoding', 'UTF8', false),
           pg_catalog.set_config('standard_conforming_strings', 'on', false),
           pg_catalog.set_config('row_security', 'off', false);
    SELECT pg_catalog.set_config(s.name, s.value, false) FROM {schema}.setting AS s
$settle$;
CREATE FUNCTION {schema}.bring_in(place {schema}.awaited) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $bring_in$
DECLARE
    source text := concat('{schema}.incoming_', place.number);
    piece record;
    listed text;
    statement text;
BEGIN
    SELECT string_agg(format('quote_nullable(%I)', attname), ', ' ORDER BY attnum) INTO listed
    FROM pg_attribute WHERE attrelid = source::regclass AND attnum > 0;
    FOR piece IN EXECUTE format('SELECT concat_ws('', '', %s) AS listed FROM %s', coalesce(listed, 'NULL'), source)
    LOOP
        IF listed IS NULL THEN
            PERFORM {schema}.put_as_app(format('INSERT INTO %s DEFAULT VALUES', place.relation));
            CONTINUE;
        END IF;
        statement := concat(coalesce(statement || ', ', format('INSERT INTO %s %s OVERRIDING SYSTEM VALUE VALUES ',
                            place.relation, place.columns)), '(', piece.listed, ')');
        IF length(statement) > 16000 THEN
            PERFORM {schema}.put_as_app(statement);
            statement := NULL;
        END IF;
    END LOOP;
    IF statement IS NOT NULL THEN
        PERFORM {schema}.put_as_app(statement);
    END IF;
    EXECUTE format('DROP TABLE %s', source);
    DELETE FROM {schema}.awaited WHERE number = place.number;
END
$bring_in$;
CREATE FUNCTION {schema}.arrive(is_last boolean) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $arrive$
DECLARE
    place {schema}.awaited;
    moved boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.awaited) THEN
        RETURN;
    END IF;
    PERFORM {schema}.make_runner();
    LOOP
        moved := false;
        FOR place IN SELECT * FROM {schema}.awaited ORDER BY number DESC LIMIT CASE WHEN NOT is_last THEN 1 END LOOP
            BEGIN
                PERFORM {schema}.bring_in(place);
                moved := true;
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
        EXIT WHEN NOT moved OR NOT is_last;
    END LOOP;
    IF is_last THEN
        FOR place IN SELECT * FROM {schema}.awaited ORDER BY number LOOP
            PERFORM {schema}.bring_in(place);  -- which says why
        END LOOP;
    END IF;
END
$arrive$;
CREATE PROCEDURE {schema}.run(statements text) LANGUAGE plpgsql AS $run$
BEGIN
    PERFORM {schema}.arrive(true);
    PERFORM {schema}.make_runner();
    PERFORM {schema}.settle();
    PERFORM {schema}.as_app(statements);
    PERFORM {schema}.settle();
END
$run$;
CREATE FUNCTION {schema}.target(wanted text) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $target$
DECLARE
    relation text := substring(wanted FROM '^((?:"(?:[^"]|"")+"|[^". ]+)\.(?:"(?:[^"]|"")+"|[^". ]+))');
    columns text;
    place text;
BEGIN
    PERFORM {schema}.arrive(false);
    PERFORM {schema}.settle();
    IF {schema}.safe_table(relation::regclass) THEN
        RETURN wanted;
    END IF;
    SELECT string_agg(format('c%s text', attnum), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
    WHERE attrelid = relation::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    INSERT INTO {schema}.awaited (relation, columns) VALUES (relation, substr(wanted, length(relation) + 1))
    RETURNING concat('{schema}.incoming_', number) INTO place;
    EXECUTE format('CREATE TABLE %s (%s)', place, columns);
    RETURN place;
END
$target$;
