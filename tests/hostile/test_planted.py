"""Code that an app plants in its database for a superuser to run at a restore stays the app's own.

Each is planted for real, dumped, and restored with psql as the superuser, twice. The payload tries to make its role a
superuser by every way that a session offers. Afterwards the role is what it was, and the database equals the dump.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from tests.contract.postgres.conftest import Postgres
from tests.contract.postgres.test_dump import content, dump, restore

PAYLOAD = """
CREATE FUNCTION public.take() RETURNS int LANGUAGE plpgsql AS $take$
DECLARE
    way text;
    found record;
BEGIN
    FOREACH way IN ARRAY ARRAY[
        '', 'RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT', 'SET ROLE NONE',
        'SET ROLE ikoma', 'SET SESSION AUTHORIZATION ikoma', 'SET LOCAL ROLE ikoma'
    ] LOOP
        BEGIN
            EXECUTE way;
            EXECUTE 'ALTER ROLE {role} SUPERUSER';
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR found IN SELECT n.nspname, p.proname FROM pg_catalog.pg_proc AS p
                 JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
                 WHERE p.proname OPERATOR(pg_catalog.=) 'as_app' LOOP
        BEGIN
            EXECUTE pg_catalog.format('ALTER FUNCTION %I.as_app(text) SECURITY INVOKER', found.nspname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        BEGIN
            EXECUTE pg_catalog.format('CREATE PROCEDURE %I.run(unknown) LANGUAGE sql AS ''SELECT 1''',
                                      found.nspname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    {more}
    RETURN 1;
END $take$;
CREATE FUNCTION public.always(anyelement) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT public.take() > 0';
CREATE FUNCTION public.taken(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.take(); END';
"""

HOLD = """
BEGIN
    EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT public.take()';
EXCEPTION WHEN OTHERS THEN NULL;
END;
"""
SETTINGS = """
PERFORM set_config('search_path', 'public, pg_temp', false), set_config('client_encoding', 'SJIS', false),
        set_config('standard_conforming_strings', 'off', false), set_config('quote_all_identifiers', 'on', false);
"""
TEMPORARY = """
BEGIN
    CREATE TEMPORARY TABLE IF NOT EXISTS pg_class (oid oid, relkind "char", relhasrules bool);
    CREATE TEMPORARY TABLE IF NOT EXISTS pg_proc (oid oid);
    CREATE DOMAIN pg_temp.regclass AS pg_catalog.text CHECK (public.take() > 0);
    CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (public.take() > 0);
EXCEPTION WHEN OTHERS THEN NULL;
END;
"""
SHADOWS = """
CREATE FUNCTION public.shadow(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql
AS 'SELECT $1 OPERATOR(pg_catalog.||) pg_catalog.left(public.take()::pg_catalog.text, 0) OPERATOR(pg_catalog.||) $2';
CREATE OPERATOR public.|| (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = public.shadow);
CREATE FUNCTION public.same(oid, oid) RETURNS bool LANGUAGE sql
AS 'SELECT public.take() OPERATOR(pg_catalog.>) 0 AND $1 OPERATOR(pg_catalog.=) $2';
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.same);
"""
PLANTED = {path.stem: path.read_text() for path in sorted(Path(__file__).with_name("planted").glob("*.sql"))}


def superuser(postgres: Postgres) -> list[Any]:
    with postgres.admin() as session:
        return session.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolconfig,"
            " ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles AS r ORDER BY 1"
        ).fetchall()


def plant(postgres: Postgres, owned: Credentials, text: str, more: str = "") -> None:
    payload = PAYLOAD.replace("{role}", f'"{owned.role}"').replace("{more}", more)
    postgres.do(postgres.databases.run_sql(owned, "seed.sql", payload + text, timeout=60))


def check(postgres: Postgres, app: AppName, folder: Path, *, equal: bool = True) -> None:
    """Restore twice: all goes well, the database equals its dump, and nobody has more rights than before."""
    rights, before = superuser(postgres), content(postgres, app)
    file = dump(postgres, app, folder / "x.sql").path
    for _ in range(2):
        done = restore(postgres, app, file)
        assert (done.returncode, done.stderr) == (0, "")
        assert superuser(postgres) == rights
        assert not equal or content(postgres, app) == before


@pytest.mark.parametrize("name", PLANTED)
def test_code_in_a_backup_never_runs_as_the_superuser(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, name: str
) -> None:
    plant(postgres, owned, PLANTED[name])
    check(postgres, app, tmp_path)


@pytest.mark.parametrize(
    "more", [HOLD, SETTINGS, TEMPORARY, SETTINGS + TEMPORARY + HOLD], ids=["hold", "settings", "temporary", "all"]
)
@pytest.mark.parametrize("where", ["check", "index", "domain"])
def test_what_code_leaves_in_the_session_does_not_run_as_the_superuser_later(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, more: str, where: str
) -> None:
    plant(postgres, owned, PLANTED[where] + SHADOWS + "CREATE TABLE z (a text); INSERT INTO z VALUES ('ü\\');", more)
    check(postgres, app, tmp_path)


def test_what_is_deferred_to_the_end_runs_as_the_app(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    plant(
        postgres,
        owned,
        """
        CREATE TABLE later (a int);
        CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.take(); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER x AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION fired();
        CREATE FUNCTION deferring() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            SET CONSTRAINTS ALL DEFERRED;
            INSERT INTO public.later SELECT 1 WHERE NOT EXISTS (SELECT FROM public.later);
        EXCEPTION WHEN OTHERS THEN NULL;
        END $$;
        CREATE FUNCTION defer(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
            'BEGIN PERFORM public.deferring(); RETURN 1; END';
        CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE INDEX ON t ((defer(1)));
        CREATE TABLE u (a int REFERENCES t); INSERT INTO u VALUES (1); CREATE INDEX ON u ((defer(1)));
        """,
    )
    check(postgres, app, tmp_path, equal=False)  # its code leaves a row while it is restored


def test_a_dump_cannot_be_made_to_look_like_another(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    """Names and bodies that look like pg_dump's own lines, or like the end of a quote."""
    forged = (
        "\n\\.\n$$; $x$ ' \" */ -- \nCOPY public.t (a) FROM stdin;\n\\.\n"
        "--\n-- Name: x; Type: EXTENSION; Schema: -; Owner: ikoma\n--\n\n"
        f'ALTER ROLE "{owned.role}" SUPERUSER;\nBEGIN;\nCOMMIT;\n\\unrestrict x\n\\! touch {tmp_path}/written\n:run :to'
    )
    literal, name = sql.Literal(forged), sql.Identifier(forged.replace("\n", " ")[:60])
    with postgres.login(owned) as session:
        for text in (
            "SET check_function_bodies = off",
            "CREATE TABLE t (a text DEFAULT {0}, CHECK (a <> {0}))",
            "COMMENT ON TABLE t IS {0}",
            "INSERT INTO t VALUES ({0} || 'x')",
            "CREATE TABLE {1} ({1} text)",
            "INSERT INTO {1} VALUES ({0})",
            "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS {0}",
            "CREATE FUNCTION g() RETURNS text BEGIN ATOMIC SELECT {0}::text; END",
            "CREATE VIEW v AS SELECT {0}::text AS {1}",
            "CREATE SCHEMA {1}",
            "CREATE TYPE e AS ENUM ('; Owner: ikoma')",
            'CREATE TABLE "x; Type: EXTENSION; Schema: -; Owner: ikoma" (a int)',
            'CREATE TABLE {1}."x; Owner: ikoma" (a int CHECK (a > 0), "; Owner: ikoma" int)',
            'INSERT INTO {1}."x; Owner: ikoma" VALUES (1, 2)',
        ):
            session.execute(sql.SQL(text).format(literal, name))
    check(postgres, app, tmp_path)
    assert not (tmp_path / "written").exists()


def test_an_extension_that_a_superuser_made_comes_back(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE SCHEMA mine; CREATE EXTENSION citext SCHEMA mine")
        session.execute("CREATE TABLE t (a mine.citext PRIMARY KEY); INSERT INTO t VALUES ('x')")
    with postgres.admin(app) as session:
        session.execute("CREATE EXTENSION vector SCHEMA mine; CREATE EXTENSION postgres_fdw SCHEMA public")
        session.execute("CREATE TABLE public.ours (a int CHECK (a > 0)); INSERT INTO public.ours VALUES (1)")
        session.execute("CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw")
    with postgres.login(owned) as session:
        session.execute("CREATE TABLE u (a mine.vector(2)); INSERT INTO u VALUES ('[1,2]')")
    check(postgres, app, tmp_path)
    with postgres.login(owned) as session:
        session.execute("DROP EXTENSION citext CASCADE")
