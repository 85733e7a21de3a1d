"""Limits of an app's role, what the admin's looks must not run, and what a killed creation leaves."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ikoma.errors import DatabaseForeign, DatabasesUnavailable, SqlFailed
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres import provision
from ikoma.postgres.clients.session import make_psql_session
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.external import ExternalPostgres
from ikoma.settings import Settings
from tests.contract.conftest import SOON, settings_of
from tests.contract.postgres.conftest import Postgres, make_database

# --- what a killed creation leaves -------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["role", "unfinished", "unmarked"])
def test_creating_goes_on_where_a_killed_run_ended(postgres: Postgres, app: AppName, left: str) -> None:
    role, unfinished = sql.Identifier(app), provision._name_unfinished(app)
    with postgres.admin() as session:
        session.execute(sql.SQL("CREATE ROLE {}").format(role))
        session.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(f"IKOMA app {app}")))
        if left != "role":
            session.execute(sql.SQL("CREATE DATABASE {}").format(unfinished))
        if left == "unmarked":
            session.execute(sql.SQL("COMMENT ON DATABASE {} IS 'IKOMA'").format(unfinished))
    assert not postgres.do(postgres.databases.owns(app))
    owned = make_database(postgres, app)
    postgres.do(postgres.databases.check_login(owned))
    with postgres.admin() as session:
        rows = session.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ikoma-making%'").fetchall()
        assert rows == []


def test_a_database_never_has_its_name_before_its_mark(postgres: Postgres, app: AppName) -> None:
    """Whatever moment a run is ended at, what it leaves can be told from another's database."""

    async def end_at_each_moment() -> None:
        for _ in range(12):
            task = asyncio.ensure_future(postgres.databases.create(app, Secret("first")))
            await asyncio.sleep(secrets.randbelow(60) / 1000)
            task.cancel()
            await asyncio.wait([task])
            with postgres.admin() as session:
                found = session.execute(
                    "SELECT shobj_description(oid, 'pg_database'), datacl::text FROM pg_database WHERE datname = %s",
                    (str(app),),
                ).fetchone()
            assert found is None or (found[0] == f"IKOMA app {app}" and "{=" not in str(found[1]))
            await postgres.databases.drop(app)

    postgres.do(end_at_each_moment())
    postgres.do(postgres.databases.check_login(make_database(postgres, app)))


def test_a_foreign_database_under_an_apps_role_stays(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    name = sql.Identifier(app)
    with postgres.admin() as session:
        session.execute(sql.SQL("DROP DATABASE {}").format(name))
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))
        session.execute(sql.SQL("GRANT CONNECT ON DATABASE {0} TO {0}").format(name))
        with pytest.raises(DatabaseForeign):
            postgres.do(postgres.databases.create(app, Secret("x")))
        with pytest.raises(DatabaseForeign, match="stays"):
            postgres.do(postgres.databases.drop(app))
        session.execute(sql.SQL("DROP DATABASE {}").format(name))


# --- what an app's role may do -----------------------------------------------------------------------------


def test_isolation_does_not_hang_on_the_rules_of_entry(postgres: Postgres, owned: Credentials) -> None:
    """On an external server pg_hba.conf is another's: the rights on the databases alone must do."""
    other = AppName.parse(f"other-{secrets.token_hex(4)}")
    make_database(postgres, other)
    try:
        with postgres.admin() as session:
            for database in (other.database, "postgres", "template1"):
                cursor = session.execute("SELECT has_database_privilege(%s, %s, 'CONNECT')", (owned.role, database))
                assert cursor.fetchone() == (False,), database
    finally:
        postgres.do(postgres.databases.drop(other))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE EXTENSION dblink",
        "ALTER ROLE CURRENT_USER CREATEDB",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
        "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
        "GRANT pg_read_server_files TO CURRENT_USER",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
        "CREATE PUBLICATION p FOR ALL TABLES",
        "CREATE EVENT TRIGGER e ON login EXECUTE FUNCTION f()",
        "SELECT pg_reload_conf()",
        "SELECT pg_read_binary_file('/etc/passwd')",
        "SELECT pg_current_logfile()",
        "SELECT * FROM pg_hba_file_rules",
        "UPDATE pg_database SET datname = 'x'",
        "DO LANGUAGE plpython3u 'pass'",
        "DROP EXTENSION plpgsql",
    ],
)
def test_an_apps_role_gets_nothing_of_the_server(postgres: Postgres, owned: Credentials, statement: str) -> None:
    with postgres.login(owned) as session, pytest.raises(psycopg.Error) as caught:
        session.execute(statement.encode())
    assert caught.value.sqlstate in ("42501", "42704", "42883"), caught.value


def test_an_app_may_have_schemas_and_trusted_extensions(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE EXTENSION citext")
        session.execute("CREATE EXTENSION pg_trgm")
        session.execute("CREATE SCHEMA more")
        session.execute("CREATE TABLE more.t (id uuid DEFAULT gen_random_uuid(), name citext)")
        session.execute("CREATE TEMPORARY TABLE t ()")


@pytest.mark.parametrize("name", ["dblink", "pageinspect", "plpython3u", "nonsense"])
def test_an_extension_that_is_refused_says_which_are_not(postgres: Postgres, owned: Credentials, name: str) -> None:
    with pytest.raises(SqlFailed) as caught:
        postgres.do(postgres.databases.run_sql(owned, "seed.sql", f"CREATE EXTENSION {name}", timeout=10))
    assert "citext" in caught.value.hint
    assert "ikoma psql --admin" in caught.value.hint


def test_every_extension_that_the_documentation_lists_can_be_made(postgres: Postgres, owned: Credentials) -> None:
    text = (Path(__file__).parents[3] / "docs" / "database.md").read_text()
    listed = re.findall(r"`(\w+)`", text.split("<!-- trusted -->")[1])
    with postgres.login(owned) as session:
        trusted = session.execute(
            "SELECT DISTINCT name FROM pg_available_extension_versions WHERE trusted AND name <> 'plpgsql' ORDER BY 1"
        ).fetchall()
        assert [(name,) for name in sorted(listed)] == trusted
        for name in listed:
            session.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))


def test_the_admins_looks_run_nothing_of_an_app(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    """An app may put operators and functions where PostgreSQL searches, for the admin to call without knowing."""
    with postgres.login(owned) as session:
        session.execute(
            """
            CREATE SCHEMA IF NOT EXISTS ikoma;
            CREATE FUNCTION public.boom(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran'; END $$;
            CREATE FUNCTION public.text_boom(name, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran'; END $$;
            CREATE FUNCTION public.quiet(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
            BEGIN
                IF current_setting('is_superuser') = 'on' THEN RAISE 'ran'; END IF;
                RETURN 1;
            END $$;
            CREATE OPERATOR ikoma.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.boom);
            CREATE OPERATOR public.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.boom);
            CREATE OPERATOR public.|| (LEFTARG = name, RIGHTARG = name, FUNCTION = public.text_boom);
            CREATE TABLE public.t (id int);
            CREATE INDEX ON public.t ((public.quiet(1)));
            INSERT INTO public.t VALUES (1);
            """
        )
    assert postgres.do(postgres.databases.read_state(app)).tables == ("t",)
    made = postgres.do(postgres.databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None))
    assert made.tables == {"t": 1}


def test_the_admins_psql_calls_nothing_of_an_app_by_mistake(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    admin = postgres.server.make_admin_login()
    settings = settings_of(
        tmp_path, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(admin["port"]), POSTGRES_PASSWORD=admin["password"]
    )
    with postgres.login(owned) as session:
        session.execute(
            """
            CREATE SCHEMA ikoma;
            CREATE FUNCTION public.joined(name, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran'; END $$;
            CREATE OPERATOR public.|| (LEFTARG = name, RIGHTARG = name, FUNCTION = public.joined);
            CREATE OPERATOR ikoma.|| (LEFTARG = name, RIGHTARG = name, FUNCTION = public.joined);
            """
        )
    argv, variables = make_psql_session(settings, None, owned.database)
    looked = [*argv, "--no-psqlrc", "-At", "-c", "SELECT current_user || '.'::name || current_database()"]
    said = subprocess.run(looked, env=os.environ | variables, capture_output=True, text=True, check=True).stdout
    assert said == f"ikoma.{app}\n"


# --- logins ------------------------------------------------------------------------------------------------


def test_a_database_dropped_by_another_is_told_at_once(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    postgres.do(postgres.databases.check_login(owned, fresh=False))
    with postgres.admin() as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(app)))
    for fresh in (False, True):
        with pytest.raises(DatabasesUnavailable, match="does not exist"):
            postgres.do(postgres.databases.check_login(owned, fresh=fresh))


def test_fifty_checks_at_once_take_few_sessions(postgres: Postgres, owned: Credentials) -> None:
    most = 0

    def count() -> int:
        with postgres.admin() as session:
            cursor = session.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (owned.role,))
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def all_at_once(fresh: bool) -> None:
        nonlocal most
        checks = [asyncio.ensure_future(postgres.databases.check_login(owned, fresh=fresh)) for _ in range(50)]
        while not all(one.done() for one in checks):
            most = max(most, await asyncio.to_thread(count))
        for one in checks:
            one.result()

    for fresh in (False, True):
        postgres.do(all_at_once(fresh))
    assert most <= 4


# --- an external server ------------------------------------------------------------------------------------


def test_an_external_server_serves_the_same(postgres: Postgres, app: AppName, tmp_path: Path) -> None:
    """The embedded one, as someone else's: what POSTGRES_HOST and its siblings reach."""
    admin = postgres.server.make_admin_login()
    settings = settings_of(
        tmp_path, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(admin["port"]), POSTGRES_PASSWORD=admin["password"]
    )

    async def use() -> None:
        server = ExternalPostgres(settings)
        await server.start()
        databases = PostgresDatabases(server)
        assert (await databases.read_version()).startswith("18")
        owned = Credentials(app.database, app.role, Secret("external"))
        await databases.create(app, owned.password)
        await databases.check_login(owned)
        assert await databases.owns(app)
        assert (await databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None)).tables == {}
        await databases.drop(app)
        await databases.close()
        await server.stop()

    postgres.do(use())


def test_a_server_that_is_away_is_told_soon(postgres: Postgres, tmp_path: Path) -> None:
    refusing = settings_of(tmp_path, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="9", POSTGRES_PASSWORD="x")
    silent = settings_of(tmp_path, POSTGRES_HOST="10.255.255.1", POSTGRES_PASSWORD="x")

    async def ask(given: Settings) -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(DatabasesUnavailable) as caught:
            await PostgresDatabases(ExternalPostgres(given)).read_version()
        assert "10.255" not in caught.value.message
        return asyncio.get_running_loop().time() - began

    assert postgres.do(ask(refusing)) < SOON
    assert postgres.do(ask(silent)) < SOON
