"""Promises of `Databases`, on a real PostgreSQL: databases that are apart, and migrations whole or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.errors import DatabaseForeign, DatabasesUnavailable, MigrationChanged, SqlFailed
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials, Migration
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from tests.contract.conftest import Do

Make = Callable[[str], Credentials]
LONGEST = "a" * 31 + "-" + "b" * 31


def as_admin(server: EmbeddedPostgres, sql: str, database: str | None = None) -> list[tuple[Any, ...]]:
    return answer(server.make_admin_login(database), sql)


def as_app(server: EmbeddedPostgres, credentials: Credentials, sql: str) -> list[tuple[Any, ...]]:
    return answer(server.make_app_login(credentials), sql)


def answer(parameters: dict[str, Any], sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(**parameters, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def migrate(do: Do[Any], databases: PostgresDatabases) -> Callable[..., bool]:
    def run(credentials: Credentials, sql: str, name: str = "001.sql", timeout: float = 30, lock: float = 5) -> bool:
        migration = Migration.of(name, sql)
        return bool(do(databases.migrate(credentials, migration, timeout=timeout, lock_timeout=lock)))

    return run


# --- making and dropping -----------------------------------------------------------------------------------


def test_creating_again_converges_on_the_new_password(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    old = make("shop")
    as_app(server, old, "CREATE TABLE kept (id int)")
    new = make("shop")
    do(databases.check_login(new))
    with pytest.raises(DatabasesUnavailable):
        do(databases.check_login(old))
    assert do(databases.read_state(AppName("shop"))).tables == ("kept",)


def test_the_longest_name_works(do: Do[Any], databases: PostgresDatabases, make: Make) -> None:
    assert len(LONGEST) == 63
    credentials = make(LONGEST)
    do(databases.check_login(credentials))
    state = do(databases.read_state(AppName.parse(LONGEST)))
    assert (state.exists, state.name) == (True, LONGEST)


def test_names_that_look_alike_are_apart(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    dash, underscore = make("my-app"), make("my_app")
    as_app(server, dash, "CREATE TABLE of_dash (id int)")
    do(databases.drop(AppName("my_app")))
    assert do(databases.read_state(AppName("my-app"))).tables == ("of_dash",)
    assert not do(databases.read_state(AppName("my_app"))).exists
    with pytest.raises(DatabasesUnavailable):
        do(databases.check_login(underscore))


@pytest.mark.parametrize(
    ("making", "removing"),
    [
        ('CREATE DATABASE "theirs"', 'DROP DATABASE "theirs"'),
        ('CREATE ROLE "theirs" LOGIN', 'DROP ROLE "theirs"'),
    ],
    ids=["database", "role"],
)
def test_what_another_made_is_neither_taken_over_nor_dropped(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, making: str, removing: str
) -> None:
    app = AppName("theirs")
    as_admin(server, making)
    try:
        with pytest.raises(DatabaseForeign):
            do(databases.create(app, Secret("x")))
        assert not do(databases.owns(app))
        assert not do(databases.read_state(app)).exists
        do(databases.drop(app))
    finally:
        as_admin(server, removing)  # fails where it is gone


def test_dropping_ends_sessions_and_leaves_nothing(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("gone")
    with psycopg.connect(**server.make_app_login(credentials)) as session:
        session.execute("SELECT 1")
        do(databases.drop(AppName("gone")))
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert as_admin(server, "SELECT 1 FROM pg_roles WHERE rolname = 'gone'") == []
    do(databases.drop(AppName("gone")))


def test_rows_are_counted_as_the_app_and_only_as_long_as_there_is_time(
    do: Do[Any], databases: PostgresDatabases, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("counted")
    migrate(
        credentials,
        "CREATE TABLE few (id int); INSERT INTO few SELECT generate_series(1, 3);"
        "CREATE SCHEMA stock; CREATE TABLE stock.none (id int);"
        # Planning a query on this table runs the app's own code.
        "CREATE FUNCTION who() RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE WARNING 'as %', current_user; RETURN 1; END $$;"
        "CREATE TABLE trap (id int); CREATE INDEX ON trap ((id + who()));",
    )
    assert do(databases.count_rows(credentials)) == {"few": 3, "stock.none": 0, "trap": 0}
    assert do(databases.count_rows(credentials, timeout=0)) == {"few": None, "stock.none": None, "trap": None}


def test_code_of_an_app_that_does_not_end_holds_up_no_count(
    do: Do[Any], databases: PostgresDatabases, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("endless")
    migrate(
        credentials,
        "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int); INSERT INTO a VALUES (1);"
        "CREATE FUNCTION for_ever(n int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        "  IF pg_backend_pid() = n THEN RETURN true; END IF;"
        "  LOOP BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;"
        " END $$;"
        "DO $$ BEGIN EXECUTE format('CREATE INDEX ON b (id) WHERE for_ever(%s)', pg_backend_pid()); END $$",
    )

    async def counted() -> Any:
        async with asyncio.timeout(120):
            return await databases.count_rows(credentials, timeout=1)

    assert do(counted()) == {"a": 1, "b": None, "c": None}


def test_creating_again_brings_the_schema_back_that_an_app_dropped(
    do: Do[Any], server: EmbeddedPostgres, databases: PostgresDatabases, make: Make
) -> None:
    credentials = make("dropped")
    as_app(server, credentials, "DROP SCHEMA public CASCADE")
    do(databases.create(AppName("dropped"), credentials.password))
    as_app(server, credentials, "CREATE TABLE again (id int)")
    assert as_app(server, credentials, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'") == [
        ("dropped",)
    ]


def test_the_state_names_tables_of_the_app_only(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("looked-at")
    migrate(
        credentials,
        "CREATE TABLE things (id int); CREATE SCHEMA stock; CREATE TABLE stock.items (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE stock.items_1 PARTITION OF stock.items FOR VALUES FROM (0) TO (9);",
    )
    state = do(databases.read_state(AppName("looked-at")))
    assert state.tables == ("stock.items", "things")
    assert state.size > 1_000_000


CREATING = """
import asyncio, sys
from ikoma.model import AppName, Secret
from ikoma.postgres.databases import PostgresDatabases
class Server:
    def make_admin_login(self, database=None):
        return {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "ikoma", "password": sys.stdin.readline().strip()
                if not hasattr(self, "known") else self.known, "dbname": database or "postgres"}
server = Server()
server.known = server.make_admin_login()["password"]
print("ready", flush=True)
asyncio.run(PostgresDatabases(server).create(AppName("half-made"), Secret("of the killed run")))
"""


@pytest.mark.parametrize("seconds", [0.01, 0.03, 0.06, 0.1, 0.15])
def test_a_creation_that_was_killed_is_simply_done_again(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, seconds: float
) -> None:
    admin = server.make_admin_login()
    with subprocess.Popen(
        [sys.executable, "-c", CREATING, str(admin["port"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(f"{admin['password']}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.kill()
    do(databases.check_login(make("half-made")))


# --- isolation ---------------------------------------------------------------------------------------------


@pytest.fixture
def two(make: Make) -> Iterator[tuple[Credentials, Credentials]]:
    yield make("alpha"), make("beta")


@pytest.mark.parametrize("database", ["beta", "postgres", "template1", "template0"])
def test_an_app_enters_no_database_but_its_own(
    server: EmbeddedPostgres, two: tuple[Credentials, Credentials], database: str
) -> None:
    parameters = server.make_app_login(two[0]) | {"dbname": database}
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**parameters)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE DATABASE more",
        "DROP DATABASE alpha",
        "ALTER DATABASE alpha RENAME TO other",
        "ALTER DATABASE alpha CONNECTION LIMIT 0",
        "CREATE ROLE more",
        "ALTER ROLE alpha SUPERUSER",
        "ALTER ROLE alpha CREATEROLE",
        "SET ROLE ikoma",
        "SET SESSION AUTHORIZATION beta",
        "GRANT beta TO alpha",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "SELECT lo_import('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE TABLE t (x text); COPY t FROM '/etc/passwd'",
        "CREATE EXTENSION file_fdw",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SET log_statement = 'all'",
        "SET temp_file_limit = -1",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ikoma' OR backend_type = 'walwriter'",
        "COMMENT ON DATABASE alpha IS 'mine'",
    ],
)
def test_an_apps_role_reaches_nothing_beyond(
    server: EmbeddedPostgres, two: tuple[Credentials, Credentials], sql: str
) -> None:
    with psycopg.connect(**server.make_admin_login()):  # a session to aim at
        with pytest.raises(psycopg.Error) as refused:
            as_app(server, two[0], sql)
        assert refused.value.sqlstate != "42601", "the test's own SQL is wrong"


def test_the_admin_enters_from_this_machine_only(server: EmbeddedPostgres) -> None:
    rules = as_admin(server, "SELECT type, database, user_name, address, auth_method FROM pg_hba_file_rules")
    methods = {rule[4] for rule in rules}
    assert methods <= {"scram-sha-256", "reject"}
    errors = as_admin(server, "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL")
    assert errors == []
    ikoma = [rule for rule in rules if rule[2] == ["ikoma"] and rule[0] == "host"]
    copies, logins = (
        [(rule[3], rule[4]) for rule in ikoma if (rule[1] == ["replication"]) == copying] for copying in (True, False)
    )
    assert logins[:2] == [("127.0.0.1", "scram-sha-256"), ("0.0.0.0", "reject")]
    assert copies == [("127.0.0.1", "scram-sha-256")]


def test_no_password_and_no_statement_reaches_postgresqls_log(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("discreet")
    secret = "a-secret-inside-a-statement"
    with pytest.raises(SqlFailed):
        do(databases.run_sql(credentials, "s.sql", f"SELECT '{secret}', 1/0", timeout=5))
    with pytest.raises(psycopg.Error), psycopg.connect(**server.make_app_login(credentials)) as connection:
        connection.execute("SELECT %s::text::int", (secret,), prepare=True)
    folder = Path(as_admin(server, "SHOW data_directory")[0][0])
    logged = b"".join(path.read_bytes() for path in (folder / "log").glob("*"))
    assert credentials.password.reveal().encode() not in logged
    assert b"inside-a-statement', 1/0" not in logged
    assert b"STATEMENT:" not in logged


# --- logging in --------------------------------------------------------------------------------------------


def test_a_wrong_password_is_noticed_at_once_even_where_a_session_is_kept(
    do: Do[Any], databases: PostgresDatabases, make: Make
) -> None:
    credentials = make("logins")
    do(databases.check_login(credentials, fresh=False))
    wrong = Credentials(credentials.database, credentials.role, Secret("wrong"))
    for fresh in (True, False):
        with pytest.raises(DatabasesUnavailable) as refused:
            do(databases.check_login(wrong, fresh=fresh))
        assert "wrong" not in str(refused.value)
    do(databases.check_login(credentials, fresh=False))


def test_many_checks_use_one_session_which_closes_by_itself(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("watched")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'watched'"

    async def burst() -> None:
        await databases.check_login(credentials, fresh=False)
        await asyncio.gather(*[databases.check_login(credentials, fresh=False) for _ in range(200)])

    do(burst())
    assert as_admin(server, sessions) == [(1,)]

    async def closed() -> None:
        async with asyncio.timeout(60):
            while as_admin(server, sessions) != [(0,)]:
                await asyncio.sleep(0.1)

    do(closed())


def test_a_first_burst_of_checks_stays_under_the_apps_connection_limit(
    do: Do[Any], databases: PostgresDatabases, make: Make
) -> None:
    credentials = make("rushed")

    async def burst() -> None:
        await asyncio.gather(*[databases.check_login(credentials, fresh=False) for _ in range(200)])

    do(burst())


def test_a_kept_session_that_was_ended_is_replaced(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("ended")
    do(databases.check_login(credentials, fresh=False))
    as_admin(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ended'")
    do(databases.check_login(credentials, fresh=False))
    do(databases.check_login(credentials, fresh=False))


def test_a_kept_session_does_not_outlive_its_database(do: Do[Any], databases: PostgresDatabases, make: Make) -> None:
    credentials = make("short-lived")
    do(databases.check_login(credentials, fresh=False))
    do(databases.drop(AppName("short-lived")))
    with pytest.raises(DatabasesUnavailable):
        do(databases.check_login(credentials, fresh=False))


def test_questions_of_one_moment_about_the_ledger_use_one_session_which_closes_by_itself(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("asked")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'asked'"
    logins = "SELECT sessions FROM pg_stat_database WHERE datname = 'asked'"

    async def ask_often() -> None:
        for _ in range(50):
            await databases.read_ledger(credentials)
        assert as_admin(server, sessions) <= [(1,)]
        async with asyncio.timeout(60):
            while as_admin(server, sessions) != [(0,)]:
                await asyncio.sleep(0.1)
        [(made,)] = as_admin(server, logins)
        assert made < 50

    do(ask_often())


def test_the_ledger_is_asked_anew_where_its_session_was_ended_or_its_database_dropped(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("asked-again")

    async def ask_again() -> None:
        assert await databases.read_ledger(credentials) == []
        as_admin(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'asked-again'")
        assert await databases.read_ledger(credentials) == []
        await databases.migrate(credentials, Migration.of("1.sql", "SELECT 1"), timeout=30, lock_timeout=5)
        assert [entry.name for entry in await databases.read_ledger(credentials)] == ["1.sql"]
        await databases.drop(AppName("asked-again"))
        with pytest.raises(DatabasesUnavailable):
            await databases.read_ledger(credentials)

    do(ask_again())


# --- migrations --------------------------------------------------------------------------------------------


def test_a_migration_applies_once_as_the_apps_role(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("moved")
    assert do(databases.read_ledger(credentials)) == []
    sql = "CREATE TABLE t (id int);\nINSERT INTO t VALUES (1);\n"
    assert migrate(credentials, sql) is True
    assert migrate(credentials, sql.replace("\n", "\r\n").rstrip()) is False
    assert as_app(server, credentials, "SELECT count(*) FROM t") == [(1,)]
    assert as_app(server, credentials, "SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [("moved",)]
    (entry,) = do(databases.read_ledger(credentials))
    assert (entry.name, entry.checksum) == ("001.sql", Migration.of("001.sql", sql).checksum)


def test_a_migration_that_was_changed_is_refused(make: Make, migrate: Callable[..., bool]) -> None:
    credentials = make("changed")
    migrate(credentials, "CREATE TABLE t (id int)")
    with pytest.raises(MigrationChanged):
        migrate(credentials, "CREATE TABLE t (id bigint)")


@pytest.mark.parametrize("sql", ["", " \n\t", "-- nothing yet\n", "/* nothing /* nested */ */ ;;"])
def test_a_file_without_statements_applies(make: Make, migrate: Callable[..., bool], sql: str) -> None:
    credentials = make("empty")
    assert migrate(credentials, sql) is True
    assert migrate(credentials, sql) is False


def test_a_runtime_error_names_file_line_and_statement_and_leaves_nothing(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("failed")
    sql = (
        "-- ünï\nCREATE TABLE t (name text UNIQUE);\nINSERT INTO t VALUES ('ärger');\n\n"
        "-- the next one\n/* fails */ INSERT INTO t\n  VALUES ('ärger');\nSELECT 1;"
    )
    with pytest.raises(SqlFailed) as failed:
        migrate(credentials, sql, "007_x.sql")
    error = failed.value
    assert error.message.startswith("007_x.sql, line 6: duplicate key")
    assert {key: error.details[key] for key in ("file", "line", "statement", "sqlstate")} == {
        "file": "007_x.sql",
        "line": 6,
        "statement": 3,
        "sqlstate": "23505",
    }
    assert error.details["sql"].startswith("INSERT INTO t")
    assert "ärger" in error.details["detail"]
    assert "ärger" not in error.audit_message and "23505" in error.audit_message
    assert as_app(server, credentials, "SELECT to_regclass('t')") == [(None,)]
    assert do(databases.read_ledger(credentials)) == []


def test_an_error_with_a_position_names_the_line_inside_the_statement(make: Make, migrate: Callable[..., bool]) -> None:
    with pytest.raises(SqlFailed) as failed:
        migrate(make("placed"), "SELECT 'éé';\nSELECT 1,\n  missing\n;")
    assert (failed.value.details["line"], failed.value.details["statement"]) == (3, 2)


def test_a_syntax_error_has_its_place(make: Make, migrate: Callable[..., bool]) -> None:
    with pytest.raises(SqlFailed) as failed:
        migrate(make("spelled"), "CREATE TABLE ok (id int);\nCREAT TABLE t (id int);\n")
    assert failed.value.details["line"] == 2
    assert failed.value.details["sqlstate"] == "42601"
    assert "CREAT" not in failed.value.audit_message


def test_a_long_statement_is_shown_shortened(make: Make, migrate: Callable[..., bool]) -> None:
    with pytest.raises(SqlFailed) as failed:
        migrate(make("lengthy"), f"SELECT '{'x' * 5000}'::int")
    assert len(failed.value.details["sql"]) <= 501


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT 1;\nCOMMIT;", 2),
        ("begin;", 1),
        ("START TRANSACTION;", 1),
        ("/* /* */ */ END;", 1),
        ("ROLLBACK AND CHAIN", 1),
        ("ABORT", 1),
        ("SELECT 1;\n\nPREPARE TRANSACTION 'x';", 3),
        ("CREATE TABLE t (id int);\n\\i other.sql\n", 2),
        ("\\d t", 1),
        ("CREATE TABLE t (id int);\nCOPY t FROM STDIN;\n1\n\\.\n", 2),
        ("SELECT 1;\nCOPY (SELECT 1) TO STDOUT;", 2),
    ],
)
def test_what_breaks_the_one_transaction_or_needs_psql_is_refused_with_its_line(
    do: Do[Any], databases: PostgresDatabases, make: Make, migrate: Callable[..., bool], sql: str, line: int
) -> None:
    credentials = make("refused")
    with pytest.raises(SqlFailed) as refused:
        migrate(credentials, sql)
    assert refused.value.details["line"] == line
    assert refused.value.hint
    assert do(databases.read_ledger(credentials)) == []


def test_a_nul_character_is_refused(make: Make, migrate: Callable[..., bool]) -> None:
    with pytest.raises(SqlFailed, match="NUL"):
        migrate(make("nul"), "SELECT 1;\0")


@pytest.mark.parametrize(
    "sql",
    [
        "DO $$ BEGIN COMMIT; END $$",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; CALL p()",
        "DO $$ BEGIN EXECUTE 'COMMIT'; END $$",
        "DO $$ BEGIN ROLLBACK; END $$",
    ],
)
def test_a_hidden_commit_applies_nothing(
    do: Do[Any],
    databases: PostgresDatabases,
    server: EmbeddedPostgres,
    make: Make,
    migrate: Callable[..., bool],
    sql: str,
) -> None:
    credentials = make("sly")
    with pytest.raises(SqlFailed):
        migrate(credentials, f"CREATE TABLE before (id int); {sql}; CREATE TABLE after (id int)")
    assert as_app(server, credentials, "SELECT to_regclass('before'), to_regclass('after')") == [(None, None)]
    assert do(databases.read_ledger(credentials)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a",
        "CREATE FUNCTION two() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT two()",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$; SELECT f()",
        "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p",
        "\ufeffSELECT 1",
        "SELECT generate_series(1, 50000)",
        "SELECT $x$; COMMIT; \\d $x$, '\n\\d';",
    ],
)
def test_what_is_sound_is_not_refused(make: Make, migrate: Callable[..., bool], sql: str) -> None:
    assert migrate(make("sound"), sql) is True


def test_a_migration_that_ends_its_own_session_applies_nothing_and_harms_nobody(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("suicidal")
    with pytest.raises((SqlFailed, DatabasesUnavailable)) as failed:
        migrate(credentials, "CREATE TABLE t (id int); SELECT pg_terminate_backend(pg_backend_pid()); SELECT 1")
    assert failed.value.hint
    assert as_app(server, credentials, "SELECT to_regclass('t')") == [(None,)]
    assert migrate(credentials, "CREATE TABLE t (id int)") is True


def test_waiting_for_a_lock_and_running_too_long_end_with_advice(
    server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("waiting")
    migrate(credentials, "CREATE TABLE t (id int)", "001.sql")
    with psycopg.connect(**server.make_app_login(credentials)) as other:
        other.execute("LOCK TABLE t")
        with pytest.raises(SqlFailed) as locked:
            migrate(credentials, "ALTER TABLE t ADD COLUMN x int", "002.sql", lock=0.3)
    assert (locked.value.details["sqlstate"], "lock" in locked.value.hint) == ("55P03", True)
    with pytest.raises(SqlFailed) as late:
        migrate(credentials, "SELECT pg_sleep(30)", "003.sql", timeout=0.3)
    assert late.value.details["sqlstate"] == "57014"


def test_a_deferred_constraint_fails_the_migration(
    do: Do[Any], databases: PostgresDatabases, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("deferred")
    with pytest.raises(SqlFailed):
        migrate(
            credentials,
            "CREATE TABLE a (id int PRIMARY KEY);"
            "CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO b VALUES (7)",
        )
    assert do(databases.read_ledger(credentials)) == []


def test_the_same_migration_from_many_sides_applies_once(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("crowded")
    migration = Migration.of("001.sql", "CREATE TABLE t (id int); INSERT INTO t VALUES (1); SELECT pg_sleep(0.1)")

    async def all_at_once() -> list[bool]:
        running = [databases.migrate(credentials, migration, timeout=60, lock_timeout=60) for _ in range(5)]
        return list(await asyncio.gather(*running))

    assert sorted(do(all_at_once())) == [False] * 4 + [True]
    assert as_app(server, credentials, "SELECT count(*) FROM t") == [(1,)]


MIGRATING = """
import asyncio, sys
from ikoma.model import Secret
from ikoma.ports.databases import Credentials, Migration
from ikoma.postgres.databases import PostgresDatabases
port, password = int(sys.stdin.readline()), sys.stdin.readline().strip()
class Server:
    def make_app_login(self, credentials):
        return {"host": "127.0.0.1", "port": port, "user": "killed", "password": password, "dbname": "killed"}
sql = "CREATE TABLE t (id int); " + "INSERT INTO t VALUES (1); SELECT pg_sleep(0.02); " * 1000
migrating = PostgresDatabases(Server()).migrate(
    Credentials("killed", "killed", Secret(password)), Migration.of("001.sql", sql), timeout=60, lock_timeout=5)
asyncio.run(migrating)
"""


def test_a_process_killed_during_a_migration_leaves_nothing_behind(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]
) -> None:
    credentials = make("killed")
    with subprocess.Popen([sys.executable, "-c", MIGRATING], stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(f"{server.endpoint.port}\n{credentials.password.reveal()}\n".encode())
        process.stdin.flush()
        working = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'killed' AND query LIKE '%pg_sleep%'"
        deadline = time.monotonic() + 90
        while as_admin(server, working, "postgres") == [(0,)]:
            assert time.monotonic() < deadline, "the migration never ran"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert migrate(credentials, "CREATE TABLE t (id int)", lock=10) is True
    assert [entry.name for entry in do(databases.read_ledger(credentials))] == ["001.sql"]


def test_twenty_thousand_statements_apply(server: EmbeddedPostgres, make: Make, migrate: Callable[..., bool]) -> None:
    credentials = make("many")
    inserts = "\n".join(f"INSERT INTO t VALUES ({n}, 'é {n}');" for n in range(20_000))
    assert migrate(credentials, f"CREATE TABLE t (id int, text text);\n{inserts}") is True
    assert as_app(server, credentials, "SELECT count(*) FROM t") == [(20_000,)]


def test_an_error_late_in_a_long_file_is_found(make: Make, migrate: Callable[..., bool]) -> None:
    inserts = "\n".join(f"INSERT INTO t VALUES ({n}, 'é {n}');" for n in range(20_000))
    with pytest.raises(SqlFailed) as failed:
        migrate(make("far"), f"CREATE TABLE t (id int, text text);\n{inserts}\nINSERT INTO t VALUES ('x', '');")
    assert (failed.value.details["line"], failed.value.details["statement"]) == (20_002, 20_002)


def test_a_seed_runs_every_time_and_leaves_no_entry(
    do: Do[Any], databases: PostgresDatabases, server: EmbeddedPostgres, make: Make
) -> None:
    credentials = make("seeded")
    for _ in range(2):
        do(databases.run_sql(credentials, "seed.sql", "CREATE TABLE IF NOT EXISTS t (id int)", timeout=10))
    with pytest.raises(SqlFailed):
        do(databases.run_sql(credentials, "seed.sql", "INSERT INTO t VALUES (1); SELECT 1/0", timeout=10))
    assert as_app(server, credentials, "SELECT count(*) FROM t") == [(0,)]
    assert do(databases.read_ledger(credentials)) == []
