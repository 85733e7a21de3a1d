"""Databases' promises about migrations and seeds: once, whole, and errors that say where."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.errors import DatabasesUnavailable, IkomaError, LedgerSpoiled, MigrationChanged, SqlFailed
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Migration
from tests.contract.postgres.conftest import Postgres, at_work, is_at_work, meanwhile
from tests.support import eventually


def migrate(
    postgres: Postgres, owned: Credentials, text: str, name: str = "1.sql", *, timeout: float = 60, lock: float = 5
) -> bool:
    migration = Migration.of(name, text)
    return bool(postgres.do(postgres.databases.migrate(owned, migration, timeout=timeout, lock_timeout=lock)))


def refused(postgres: Postgres, owned: Credentials, text: str, **more: Any) -> SqlFailed:
    """The error of a migration that fails; nothing of it is kept, and the ledger has no entry."""
    before = tables(postgres, owned)
    with pytest.raises(SqlFailed) as caught:
        migrate(postgres, owned, text, **more)
    assert names(postgres, owned) == []
    assert tables(postgres, owned) == before
    assert caught.value.details["file"] == "1.sql"
    assert "1.sql" in caught.value.message
    return caught.value


def names(postgres: Postgres, owned: Credentials) -> list[str]:
    return [entry.name for entry in postgres.do(postgres.databases.read_ledger(owned))]


def tables(postgres: Postgres, owned: Credentials) -> list[str]:
    with postgres.admin(owned.database) as session:
        cursor = session.execute("SELECT relname FROM pg_class WHERE oid >= 16384 ORDER BY 1")
        return [str(name) for (name,) in cursor.fetchall()]


def count(postgres: Postgres, owned: Credentials, table: str) -> int:
    with postgres.login(owned) as session:
        row = session.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


# --- once --------------------------------------------------------------------------------------------------


def test_a_migration_is_applied_once(postgres: Postgres, owned: Credentials) -> None:
    text = "CREATE TABLE t (id int);\nINSERT INTO t VALUES (1);\n"
    assert migrate(postgres, owned, text)
    assert not migrate(postgres, owned, text)
    assert not migrate(postgres, owned, text.replace("\n", "\r\n") + "\n\n")
    assert count(postgres, owned, "t") == 1
    (entry,) = postgres.do(postgres.databases.read_ledger(owned))
    assert entry.name == "1.sql"
    assert entry.checksum == Migration.of("1.sql", text).checksum
    assert entry.applied_at.endswith("Z")


def test_a_changed_migration_is_an_error(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "CREATE TABLE t (id int)")
    with pytest.raises(MigrationChanged, match=r"1\.sql"):
        migrate(postgres, owned, "CREATE TABLE t (id bigint)")
    with pytest.raises(MigrationChanged):
        migrate(postgres, owned, "this is no SQL")


def test_the_ledger_is_in_the_order_of_application(postgres: Postgres, owned: Credentials) -> None:
    assert names(postgres, owned) == []
    for name in ("2.sql", "10.sql", "1.sql"):
        migrate(postgres, owned, "SELECT 1", name)
    assert names(postgres, owned) == ["2.sql", "10.sql", "1.sql"]
    assert "migrations" not in postgres.do(postgres.databases.read_state(AppName(owned.database))).tables


def test_two_runs_at_once_apply_it_once(postgres: Postgres, owned: Credentials) -> None:
    migration = Migration.of("1.sql", "CREATE TABLE t (id int); SELECT pg_sleep(0.2); INSERT INTO t VALUES (1)")

    async def together() -> list[bool]:
        runs = [postgres.databases.migrate(owned, migration, timeout=60, lock_timeout=60) for _ in range(5)]
        return list(await asyncio.gather(*runs))

    assert sorted(postgres.do(together())) == [False, False, False, False, True]
    assert count(postgres, owned, "t") == 1


def test_waiting_too_long_for_another_run_says_so(postgres: Postgres, owned: Credentials) -> None:
    async def together() -> list[Any]:
        with postgres.admin(owned.database) as gate:
            gate.execute("SELECT pg_advisory_lock(7)")
            gated = "DO $$ BEGIN WHILE NOT pg_try_advisory_xact_lock(7) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
            slow = Migration.of("1.sql", gated)
            first = asyncio.ensure_future(postgres.databases.migrate(owned, slow, timeout=240, lock_timeout=10))
            await at_work(postgres, "pg_try_advisory_xact_lock(7)")
            second = postgres.databases.migrate(owned, Migration.of("2.sql", "SELECT 1"), timeout=60, lock_timeout=0.1)
            [late] = await asyncio.gather(second, return_exceptions=True)
        return [await first, late]

    first, second = postgres.do(together())
    assert first is True
    assert isinstance(second, SqlFailed)
    assert second.details["sqlstate"] == "55P03"


@pytest.mark.parametrize("text", ["", "  \n", "-- nothing\n", "/* /* nothing */ */", ";;\n;", "\ufeff"])
def test_a_file_of_nothing_is_applied(postgres: Postgres, owned: Credentials, text: str) -> None:
    assert migrate(postgres, owned, text)
    assert not migrate(postgres, owned, text)


def test_an_editors_byte_order_mark_is_no_matter(postgres: Postgres, owned: Credentials) -> None:
    assert migrate(postgres, owned, "\ufeffCREATE TABLE t ()")


# --- errors say where --------------------------------------------------------------------------------------

LONG = """-- über alles: äöü 🎈
CREATE TABLE kind (id int PRIMARY KEY, name text);  -- first

/* a comment; with a semicolon
   /* and another inside */
   over lines 🎈 */
CREATE FUNCTION double(n int) RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
    -- a semicolon; here
    RETURN n * 2;
END
$body$;

CREATE FUNCTION twice(n int) RETURNS int
BEGIN ATOMIC
    SELECT 1;
    SELECT n * 2;
END;

CREATE RULE watch AS ON INSERT TO kind DO ALSO (
    SELECT 'ü;';
    SELECT 2;
);
INSERT INTO kind VALUES (1, 'ä;ö'), (2, 'ü🎈');
%s
SELECT 'after';
"""


@pytest.mark.parametrize(
    ("statement", "sqlstate", "message"),
    [
        ("SELEC 1;", "42601", 'syntax error at or near "SELEC"'),
        ("INSERT INTO kind VALUES (3, 'x' 'ü');", "42601", "syntax error"),
        ("SELECT * FROM missing;", "42P01", 'relation "missing" does not exist'),
        ("SELECT 1 / (id - 1) FROM kind;", "22012", "division by zero"),
        ("INSERT INTO kind VALUES (1, 'again');", "23505", "duplicate key"),
        ("SELECT double('x');", "22P02", "invalid input syntax"),
        ("DO $$ BEGIN RAISE EXCEPTION 'no ü'; END $$;", "P0001", "no ü"),
        ("DO $$ BEGIN SELECT * FROM missing; END $$;", "42P01", "does not exist"),
        ("ALTER TABLE kind ADD COLUMN name text;", "42701", "already exists"),
        ("VACUUM kind;", "25001", "cannot run inside a transaction block"),
        ("CREATE ROLE more;", "42501", "permission denied"),
    ],
)
def test_an_error_names_file_line_and_statement(
    postgres: Postgres, owned: Credentials, statement: str, sqlstate: str, message: str
) -> None:
    text = LONG % f"-- ü🎈\n{statement}"
    error = refused(postgres, owned, text)
    assert error.details["sqlstate"] == sqlstate
    assert message in error.message
    line = text[: text.index(statement)].count("\n") + 1
    assert error.details["line"] == line
    assert f"line {line}:" in error.message
    assert error.details["statement"] == 6
    assert error.details["sql"] == statement.rstrip(";")
    assert message not in error.audit_message
    assert f"line {line}:" in error.audit_message


def test_the_line_is_where_the_error_is_not_where_the_statement_begins(postgres: Postgres, owned: Credentials) -> None:
    error = refused(postgres, owned, "SELECT 'ü',\n\n  missing\nFROM (VALUES (1)) AS x;")
    assert error.details["line"] == 3
    assert error.details["statement"] == 1


def test_a_syntax_error_keeps_the_files_own_letters(postgres: Postgres, owned: Credentials) -> None:
    assert 'near "größe"' in refused(postgres, owned, "SELECT 1 AS a größe").message


def test_an_unfinished_quote_is_told(postgres: Postgres, owned: Credentials) -> None:
    error = refused(postgres, owned, "SELECT 1;\nSELECT 'never closed;\nSELECT 2;")
    assert error.details["line"] == 2


def test_a_long_statement_is_shown_cut(postgres: Postgres, owned: Credentials) -> None:
    error = refused(postgres, owned, f"SELECT missing, '{'x' * 5000}'")
    assert len(error.details["sql"]) < 600


def test_deferred_checks_are_the_files_errors(postgres: Postgres, owned: Credentials) -> None:
    text = """
        CREATE TABLE a (id int PRIMARY KEY, b int);
        CREATE TABLE b (id int PRIMARY KEY);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED;
        INSERT INTO a VALUES (1, 1);
    """
    error = refused(postgres, owned, text)
    assert error.details["sqlstate"] == "23503"
    assert migrate(postgres, owned, text + "INSERT INTO b VALUES (1);")


def test_an_error_among_many_results_is_counted_right(postgres: Postgres, owned: Credentials) -> None:
    """Rows come in pieces and rules add results of their own; neither moves the number."""
    text = (
        "CREATE TABLE t (id int);\n"
        "CREATE RULE r AS ON INSERT TO t DO ALSO SELECT 'extra';\n"
        "INSERT INTO t VALUES (1);\n"
        "SELECT generate_series(1, 5000);\n"
        "SELECT 1 WHERE false;\n"
        "SELECT 1 / 0;\n"
    )
    assert refused(postgres, owned, text).details["line"] == 6


# --- one transaction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "commit and chain",
        "BEGIN",
        "Begin Isolation Level Serializable",
        "START TRANSACTION",
        "START /* x */ TRANSACTION",
        "ROLLBACK",
        "rollback work",
        "END",
        "ABORT",
        "PREPARE TRANSACTION 'x'",
        "PREPARE/**/TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
        "/* /* nested */ COMMIT; */ COMMIT",
        "-- ended by a carriage return\rCOMMIT",
    ],
)
def test_statements_that_end_the_transaction_are_refused(
    postgres: Postgres, owned: Credentials, statement: str
) -> None:
    error = refused(postgres, owned, f"CREATE TABLE t ();\n\n{statement};\nCREATE TABLE u ();")
    assert error.details["line"] == 3
    assert error.details["statement"] == 2
    assert "no place here" in error.message


SETTINGS = {
    "standard_conforming_strings": "off",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "transaction_timeout": "1ms",
    "default_transaction_read_only": "on",
    "exit_on_error": "on",
    "client_min_messages": "debug5",
    "backslash_quote": "off",
    "DateStyle": "SQL, DMY",
    "client_encoding": "SQL_ASCII",
}


@pytest.fixture
def willful(postgres: Postgres, owned: Credentials) -> Credentials:
    """An app that has set all it can for its role."""
    migrate(postgres, owned, "SELECT 1", "0.sql")
    text = "".join(f"ALTER ROLE CURRENT_USER SET {name} = '{value}';\n" for name, value in SETTINGS.items())
    postgres.do(postgres.databases.run_sql(owned, "s.sql", text, timeout=60))
    return owned


def test_no_setting_of_the_app_makes_text_another(postgres: Postgres, willful: Credentials) -> None:
    text = "CREATE TABLE half (a int); SELECT 'a\\', ' ; COMMIT; --'"
    assert migrate(postgres, willful, text)
    assert names(postgres, willful) == ["0.sql", "1.sql"]
    with pytest.raises(SqlFailed, match="division"):
        migrate(postgres, willful, f"{text.replace('half', 'other')}; SELECT 1 / 0", "2.sql")
    assert "other" not in tables(postgres, willful)


def test_no_setting_of_the_app_ends_a_session(postgres: Postgres, willful: Credentials) -> None:
    assert migrate(postgres, willful, "CREATE TABLE t (); SELECT pg_sleep(0.1); SELECT 1")
    assert names(postgres, willful) == ["0.sql", "1.sql"]
    postgres.do(postgres.databases.check_login(willful))
    assert postgres.do(postgres.databases.count_rows(willful)) == {"t": 0}
    postgres.do(postgres.databases.query(willful, "SELECT pg_sleep(0.1)", limit=1, timeout=20))


def test_where_an_app_has_its_tables_is_its_own_to_say(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "CREATE SCHEMA mine; ALTER ROLE CURRENT_USER SET search_path = mine")
    migrate(postgres, owned, "CREATE TABLE t ()", "2.sql")
    assert postgres.do(postgres.databases.count_rows(owned)) == {"mine.t": 0}


def test_savepoints_are_fine(postgres: Postgres, owned: Credentials) -> None:
    text = (
        "CREATE TABLE t (id int);\nSAVEPOINT a;\nINSERT INTO t VALUES (1);\nROLLBACK TO a;\n"
        "ROLLBACK /* x */ TRANSACTION TO SAVEPOINT a;\nRELEASE SAVEPOINT a;\nINSERT INTO t VALUES (2);\n"
        "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p;\nCOPY t TO '/dev/null'"
    )
    error = refused(postgres, owned, text)  # the last line is not allowed to the role, all others are
    assert (error.details["statement"], error.details["sqlstate"]) == (11, "42501")
    assert migrate(postgres, owned, text.rsplit("\n", 1)[0])
    assert count(postgres, owned, "t") == 1


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (); DO $$ BEGIN COMMIT; END $$; SELECT 1 / 0",
        "CREATE TABLE t (); DO $$ BEGIN ROLLBACK; END $$",
        "CREATE TABLE t (); CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; CALL p()",
        "CREATE TABLE t (); CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'COMMIT'; END $$; CALL p()",
        "CREATE TABLE t (); DO $$ BEGIN EXECUTE 'END; BEGIN'; END $$; SELECT 1 / 0",
    ],
)
def test_a_hidden_commit_commits_nothing(postgres: Postgres, owned: Credentials, text: str) -> None:
    refused(postgres, owned, text)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("CREATE TABLE t ();\n\\d t\n", 2, r"\d is a command of psql"),
        ("\\set ON_ERROR_STOP on\nSELECT 1;", 1, r"\set is a command of psql"),
        ("SELECT 1;\n  -- x\n\\i other.sql\n", 3, r"\i is a command of psql"),
        ("CREATE TABLE t (a int);\nCOPY t FROM STDIN;\n1\n2\n\\.\nSELECT 1;", 2, "COPY cannot"),
        ("CREATE TABLE t (a int);\ncopy t (a) from stdin with (format csv);", 2, "COPY cannot"),
        ("SELECT 1;\nCOPY (SELECT 1) TO STDOUT;", 2, "COPY cannot"),
    ],
)
def test_what_only_psql_can_do_is_refused(
    postgres: Postgres, owned: Credentials, text: str, line: int, said: str
) -> None:
    error = refused(postgres, owned, text)
    assert error.details["line"] == line
    assert said in error.message


def test_a_nul_character_is_refused(postgres: Postgres, owned: Credentials) -> None:
    assert "NUL" in refused(postgres, owned, "SELECT 1;\0 DROP TABLE t").message


def test_a_migration_that_ends_its_own_session_is_undone(postgres: Postgres, owned: Credentials) -> None:
    error = refused(postgres, owned, "CREATE TABLE t ();\nSELECT pg_terminate_backend(pg_backend_pid());\nSELECT 1;")
    assert error.hint
    assert migrate(postgres, owned, "CREATE TABLE t ();")


def test_a_session_ended_from_outside_is_told(postgres: Postgres, owned: Credentials) -> None:
    def end() -> None:
        eventually(lambda: is_at_work(postgres, "pg_sleep(600)"))
        with postgres.admin() as session:
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (owned.role,))

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises((SqlFailed, DatabasesUnavailable)):
        migrate(postgres, owned, "CREATE TABLE t (); SELECT pg_sleep(600)", timeout=600)
    ending.join()
    assert tables(postgres, owned) == []


def test_a_held_lock_ends_the_wait_with_advice(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as holder:
        holder.execute("CREATE TABLE t (id int)")
        holder.execute("BEGIN; LOCK TABLE t")
        error = refused(postgres, owned, "SELECT 1;\nALTER TABLE t ADD COLUMN more int;", lock=1)
        (process,) = holder.execute("SELECT pg_backend_pid()").fetchone() or ()
        holder.execute("COMMIT")
    assert error.details["sqlstate"] == "55P03"
    assert f"process {process} of {owned.role}, idle in transaction for " in error.details["blockedBy"][0]
    assert error.details["blockedBy"][0] in error.message
    assert "tried 4 times" in error.message
    assert owned.role not in error.audit_message
    assert error.details["line"] == 2
    assert "lockTimeout" in error.hint


def test_a_migration_that_waits_lets_the_app_go_first_and_tries_again(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as holder, postgres.login(owned) as app:
        holder.execute("CREATE TABLE t (id int)")
        holder.execute("BEGIN; SELECT FROM t")
        app.execute("SET statement_timeout = '60s'")
        waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
        migration = Migration.of("1.sql", "ALTER TABLE t ADD COLUMN more int;")
        assert postgres.do(
            meanwhile(
                postgres.databases.migrate(owned, migration, timeout=60, lock_timeout=2),
                lambda: eventually(lambda: app.execute(waiting).rowcount == 1),
                lambda: app.execute("SELECT FROM t"),  # behind the migration, and the holder holds still
                lambda: holder.execute("COMMIT"),
            )
        )


def test_a_slow_statement_ends_with_advice(postgres: Postgres, owned: Credentials) -> None:
    began = time.monotonic()
    error = refused(postgres, owned, "SELECT 1;\n\nSELECT pg_sleep(600);", timeout=0.5)
    assert time.monotonic() - began < 90
    assert error.details["line"] == 3
    assert "timeout" in error.hint


@pytest.mark.parametrize("text", ["SET ROLE ikoma", "SET SESSION AUTHORIZATION ikoma", "SET ROLE pg_read_all_data"])
def test_taking_another_role_is_refused(postgres: Postgres, owned: Credentials, text: str) -> None:
    assert refused(postgres, owned, text).details["sqlstate"] == "42501"


@pytest.mark.parametrize("text", ["RESET ROLE", "RESET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION DEFAULT"])
def test_going_back_to_the_first_role_gains_nothing(postgres: Postgres, owned: Credentials, text: str) -> None:
    assert refused(postgres, owned, f"{text}; CREATE ROLE more").details["sqlstate"] == "42501"
    assert refused(postgres, owned, f"{text}; SELECT pg_read_file('/etc/passwd')").details["sqlstate"] == "42501"


def test_a_search_path_of_its_own_does_no_harm(postgres: Postgres, owned: Credentials) -> None:
    assert migrate(postgres, owned, "CREATE SCHEMA s; SET search_path = s; CREATE TABLE migrations (name text)")
    assert migrate(postgres, owned, "CREATE TABLE t ()", "2.sql")
    assert names(postgres, owned) == ["1.sql", "2.sql"]


@pytest.mark.parametrize(
    "text",
    [
        "DROP SCHEMA ikoma CASCADE",
        "DROP TABLE ikoma.migrations",
        "CREATE RULE r AS ON INSERT TO ikoma.migrations DO INSTEAD NOTHING",
        "ALTER TABLE ikoma.migrations ADD COLUMN must int NOT NULL",
        "SET default_transaction_read_only = on; SET TRANSACTION READ ONLY",
    ],
)
def test_a_migration_that_spoils_the_ledger_is_refused(postgres: Postgres, owned: Credentials, text: str) -> None:
    assert "ledger" in refused(postgres, owned, f"CREATE TABLE t (); {text}").message


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE ikoma.migrations RENAME COLUMN name TO n",
        "ALTER TABLE ikoma.migrations ALTER COLUMN checksum TYPE bytea USING checksum::bytea",
        "ALTER TABLE ikoma.migrations ENABLE ROW LEVEL SECURITY",
        "REVOKE ALL ON ikoma.migrations FROM CURRENT_USER",
        "INSERT INTO ikoma.migrations SELECT n, 'x' FROM generate_series(1, 10000) AS n",
        "DROP TABLE ikoma.migrations; CREATE VIEW ikoma.migrations AS SELECT repeat('x', 1000000) AS name,"
        " 'x' AS checksum, now() AS applied_at FROM generate_series(1, 300)",
        "DROP TABLE ikoma.migrations; CREATE VIEW ikoma.migrations AS SELECT pg_sleep(1000)::text AS name,"
        " 'x' AS checksum, now() AS applied_at",
    ],
)
def test_a_ledger_that_an_app_has_spoiled_is_told(postgres: Postgres, owned: Credentials, text: str) -> None:
    migrate(postgres, owned, "SELECT 1")
    postgres.do(postgres.databases.run_sql(owned, "s.sql", text, timeout=60))
    with growing_less_than(64 << 20):
        with pytest.raises(LedgerSpoiled, match=r"ikoma\.migrations"):
            names(postgres, owned)
        with pytest.raises((LedgerSpoiled, SqlFailed)):
            migrate(postgres, owned, "SELECT 2", "2.sql")


def test_a_ledger_that_is_locked_is_not_waited_for(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "SELECT 1")
    with postgres.login(owned) as session, session.transaction():
        session.execute("LOCK TABLE ikoma.migrations")
        with pytest.raises(LedgerSpoiled, match="lock timeout"):
            names(postgres, owned)
    assert names(postgres, owned) == ["1.sql"]


def test_long_values_in_the_ledger_are_cut(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "SELECT 1")
    text = "INSERT INTO ikoma.migrations SELECT n, repeat('x', 1000000) FROM generate_series(1, 300) AS n"
    postgres.do(postgres.databases.run_sql(owned, "s.sql", text, timeout=60))
    with growing_less_than(64 << 20):
        assert len(names(postgres, owned)) == 301


def test_notices_and_notifications_do_no_harm(postgres: Postgres, owned: Credentials) -> None:
    text = "LISTEN x; NOTIFY x, 'y'; DO $$ BEGIN FOR i IN 1..2000 LOOP RAISE NOTICE 'n %', i; END LOOP; END $$;"
    assert migrate(postgres, owned, text + " DROP TABLE IF EXISTS none;")


@pytest.mark.parametrize(("size", "number"), [(1000, 300_000), (1_000_000, 400)])
def test_rows_of_any_number_are_not_held_in_memory(
    postgres: Postgres, owned: Credentials, size: int, number: int
) -> None:
    with growing_less_than(64 << 20):
        assert migrate(postgres, owned, f"SELECT repeat('x', {size}) FROM generate_series(1, {number})")


@pytest.mark.parametrize(
    "text",
    ["SELECT repeat('x', 200000000)", "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 200000000); END $$"],
)
def test_what_is_too_large_for_one_message_is_refused(postgres: Postgres, owned: Credentials, text: str) -> None:
    with growing_less_than(128 << 20):
        error = refused(postgres, owned, f"CREATE TABLE t ();\n{text}")
    assert "more than 16 MiB" in error.message


def test_a_long_error_is_cut_at_the_end_of_a_line(postgres: Postgres, owned: Credentials) -> None:
    said = "repeat('x', 5000) || E'\\n' || repeat('y', 1000000)"
    error = refused(
        postgres, owned, f"DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = {said}, DETAIL = {said}, HINT = {said}; END $$"
    )
    for text in (error.message, error.details["detail"], error.details["serverHint"]):
        assert "x" * 5000 in text
        assert "yy" not in text
        assert "[cut]" in text
        assert len(text) < 6000


@contextmanager
def growing_less_than(bound: int) -> Iterator[None]:
    """See that at no time in the block this process has so many bytes more in memory than before."""
    Path("/proc/self/clear_refs").write_text("5")  # what was the most is forgotten
    before = _most_memory()
    yield
    assert _most_memory() - before < bound


def _most_memory() -> int:
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) << 10 for line in stream if line.startswith("VmHWM"))


# --- seeds -------------------------------------------------------------------------------------------------


def test_a_seed_runs_each_time_and_whole(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "CREATE TABLE t (id int)")

    def seed(text: str) -> None:
        postgres.do(postgres.databases.run_sql(owned, "s.sql", text, timeout=60))

    seed("INSERT INTO t VALUES (1)")
    seed("INSERT INTO t VALUES (1)")
    for bad in ("INSERT INTO t VALUES (2); SELECT 1 / 0", "INSERT INTO t VALUES (2); COMMIT", "\\q"):
        with pytest.raises(SqlFailed):
            seed(bad)
    assert count(postgres, owned, "t") == 2
    assert names(postgres, owned) == ["1.sql"]


# --- at size -----------------------------------------------------------------------------------------------


def test_twenty_thousand_statements_apply_in_seconds(postgres: Postgres, owned: Credentials) -> None:
    text = "CREATE TABLE t (id int, name text);\n" + "".join(
        f"INSERT INTO t VALUES ({number}, 'ü {number}');\n" for number in range(20_000)
    )
    assert migrate(postgres, owned, text, timeout=120)
    assert count(postgres, owned, "t") == 20_000


def test_an_error_at_the_end_of_many_statements_is_found_quickly(postgres: Postgres, owned: Credentials) -> None:
    text = "SELECT 'ü';\n" * 20_000 + "SELECT 1 / 0;\n"
    error = refused(postgres, owned, text)
    assert (error.details["line"], error.details["statement"]) == (20_001, 20_001)


def test_the_loop_goes_on_while_a_file_runs(postgres: Postgres, owned: Credentials) -> None:
    async def together() -> float:
        running = asyncio.ensure_future(
            postgres.databases.migrate(
                owned, Migration.of("1.sql", "SELECT 'ü';\n" * 20_000), timeout=60, lock_timeout=5
            )
        )
        longest = 0.0
        while not running.done():
            before = time.thread_time()  # what others on the machine do is not counted
            await asyncio.sleep(0.005)
            longest = max(longest, time.thread_time() - before)
        assert running.result()
        return longest

    assert postgres.do(together()) < 1.0


def test_a_cancelled_run_leaves_nothing(postgres: Postgres, owned: Credentials) -> None:
    async def cancelled() -> None:
        migration = Migration.of("1.sql", "CREATE TABLE t (); SELECT pg_sleep(600)")
        task = asyncio.ensure_future(postgres.databases.migrate(owned, migration, timeout=600, lock_timeout=5))
        await at_work(postgres, "pg_sleep(600)")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    postgres.do(cancelled())
    assert time.monotonic() - began < 240
    assert tables(postgres, owned) == []
    with postgres.admin() as session:
        query = "SELECT FROM pg_stat_activity WHERE usename = %s"
        eventually(lambda: session.execute(query, (owned.role,)).rowcount == 0)


def test_no_error_of_psycopg_comes_through(postgres: Postgres, owned: Credentials) -> None:
    """Whatever a file does, the caller gets one of our errors."""
    for text in ("SELECT 1 / 0", "SELEC", "DROP SCHEMA ikoma CASCADE", "SET statement_timeout = 1; SELECT pg_sleep(1)"):
        try:
            migrate(postgres, owned, text)
        except psycopg.Error as error:
            raise AssertionError(text) from error
        except IkomaError:
            pass
