"""Databases' promises about restoring: the database equals the backup again, or nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ikoma.errors import (
    BackupDamaged,
    BackupForeign,
    BackupMissing,
    DatabaseMissing,
    DatabasesUnavailable,
    DiskFull,
    RestoreFailed,
)
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials, Migration
from ikoma.ports.progress import ignore_progress
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server import cluster
from ikoma.postgres.server.embedded import EmbeddedPostgres
from tests.contract.conftest import remove, settings_of, state_folder
from tests.contract.postgres.conftest import Postgres, at_work, make_database
from tests.contract.postgres.test_dump import FIRST, SINCE, content, dump, migrate, owners
from tests.support import eventually


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    migrate(postgres, owned, FIRST)
    return owned


@pytest.fixture
def backup(postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path) -> Path:
    return dump(postgres, app, tmp_path / "x.sql").path


def restore(postgres: Postgres, owned: Credentials, path: Path, sha256: str | None = None) -> None:
    postgres.do(postgres.databases.restore(owned, path, sha256=sha256, progress=ignore_progress))


def harm(path: Path, old: bytes, new: bytes) -> None:
    """Change a backup, whose checksum is not compared, so that only psql can find it out."""
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def do_as_app(postgres: Postgres, owned: Credentials, text: str) -> None:
    with postgres.login(owned) as session:
        session.execute(text.encode())


# --- it comes back -----------------------------------------------------------------------------------------


def test_a_restored_database_equals_its_backup_twice_in_a_row(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    before, owned_by = content(postgres, app), owners(postgres, app)
    for change in ("\n;".join((SINCE[0], SINCE[1], SINCE[4], SINCE[10])), "SELECT 1"):
        do_as_app(postgres, filled, change)
        restore(postgres, filled, backup)
        assert content(postgres, app) == before
        assert owners(postgres, app) == owned_by


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO people (name) VALUES ('since')",
        "DROP TABLE notes",
        "ALTER TABLE people ADD COLUMN since int DEFAULT 7",
        "CREATE TABLE since (id serial); INSERT INTO since DEFAULT VALUES",
        "SELECT nextval('notes_id_seq')",
        "DROP SCHEMA public CASCADE",
        "DROP SCHEMA ikoma CASCADE",
    ],
)
def test_whatever_was_done_since_is_undone(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path, change: str
) -> None:
    before = content(postgres, app)
    do_as_app(postgres, filled, change)
    assert content(postgres, app) != before
    restore(postgres, filled, backup)
    assert content(postgres, app) == before


def test_migrations_applied_since_are_pending_again(postgres: Postgres, filled: Credentials, backup: Path) -> None:
    second = Migration.of("2.sql", "CREATE TABLE second (id int)")
    for _ in range(2):
        assert postgres.do(postgres.databases.migrate(filled, second, timeout=60, lock_timeout=5))
        restore(postgres, filled, backup)
        assert [entry.name for entry in postgres.do(postgres.databases.read_ledger(filled))] == ["1.sql"]


def test_a_backup_restores_over_a_new_empty_database_of_its_app(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    before = content(postgres, app)
    postgres.do(postgres.databases.drop(app))
    restore(postgres, make_database(postgres, app), backup)
    assert content(postgres, app) == before


def test_the_restored_code_of_an_app_has_no_more_rights_than_before(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    migrate(
        postgres,
        owned,
        "CREATE TABLE seen (who text);"
        "CREATE FUNCTION spy(int) RETURNS bool LANGUAGE plpgsql AS"
        " $$ BEGIN IF current_user <> session_user THEN RETURN true; END IF;"
        " PERFORM set_config('spy.who', current_user, false); RETURN current_user <> 'ikoma'; END $$;"
        "CREATE TABLE guarded (id int CHECK (spy(id))); INSERT INTO guarded VALUES (1)",
    )
    made = dump(postgres, app, tmp_path / "x.sql")
    restore(postgres, owned, made.path)  # a check that ran as the admin would be false, and fail it
    with postgres.login(owned) as session:
        assert session.execute("SELECT id FROM guarded").fetchall() == [(1,)]


def test_what_is_closed_to_apps_stays_closed(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    restore(postgres, filled, backup)
    with postgres.login(filled) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("SELECT pg_logical_emit_message(false, 'x', 'x')")


def test_progress_goes_up_and_says_what_it_is_about(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    migrate(postgres, owned, "CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 200000) AS n")
    path = dump(postgres, app, tmp_path / "x.sql").path
    told: list[tuple[str, float | None]] = []
    postgres.do(postgres.databases.restore(owned, path, progress=lambda *said: told.append(said)))
    assert told[0] == ("restore x.sql: verify", 0.0)
    fractions = [fraction or 0 for _, fraction in told]
    assert fractions == sorted(fractions)
    assert max(fractions) < 1


# --- what is refused before anything is touched ------------------------------------------------------------


def test_there_is_no_such_backup(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    for path in (tmp_path / "none.sql", tmp_path, tmp_path / "none" / "x.sql"):
        with pytest.raises(BackupMissing):
            restore(postgres, owned, path)


def test_a_backup_of_another_app_is_refused(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    other = AppName.parse(f"{app}-other")
    try:
        theirs = make_database(postgres, other)
        do_as_app(postgres, theirs, "CREATE TABLE theirs (id int)")
        before = content(postgres, other)
        with pytest.raises(BackupForeign, match=f"is a backup of {app}, not of {other}"):
            restore(postgres, theirs, backup)
        assert content(postgres, other) == before
    finally:
        postgres.do(postgres.databases.drop(other))


@pytest.mark.parametrize("text", ["", "\n", "SELECT 1;\n", "\\! touch /tmp/never\n", "-- IKOMA\n", "\0" * 5000])
def test_a_file_that_is_no_backup_is_refused(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, text: str
) -> None:
    before = content(postgres, app)
    (tmp_path / "y.sql").write_text(text)
    with pytest.raises(BackupForeign):
        restore(postgres, filled, tmp_path / "y.sql")
    assert content(postgres, app) == before


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("summed", [True, False])
def test_a_truncated_backup_changes_nothing(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path, kept: float, summed: bool
) -> None:
    do_as_app(postgres, filled, "INSERT INTO people (name) VALUES ('since')")
    before = content(postgres, app)
    sha256 = digest(backup) if summed else None
    os.truncate(backup, int(backup.stat().st_size * kept))
    with pytest.raises(BackupDamaged):
        restore(postgres, filled, backup, sha256)
    assert content(postgres, app) == before


def test_one_changed_byte_is_found_by_the_checksum(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    before, sha256 = content(postgres, app), digest(backup)
    backup.write_bytes(backup.read_bytes().replace(b"name 7", b"name 8", 1))
    with pytest.raises(BackupDamaged, match="checksum"):
        restore(postgres, filled, backup, sha256)
    assert content(postgres, app) == before


def test_a_database_that_ikoma_did_not_make_is_not_restored_over(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    with postgres.admin() as session:
        session.execute(f'COMMENT ON DATABASE "{app}" IS NULL'.encode())
    try:
        with pytest.raises(DatabaseMissing):
            restore(postgres, filled, backup)
    finally:
        with postgres.admin() as session:
            session.execute(f"COMMENT ON DATABASE \"{app}\" IS 'IKOMA app {app}'".encode())


def test_there_is_no_database(postgres: Postgres, app: AppName, filled: Credentials, backup: Path) -> None:
    postgres.do(postgres.databases.drop(app))
    with pytest.raises(DatabaseMissing):
        restore(postgres, Credentials(app.database, app.role, Secret("x")), backup)


# --- failing ----------------------------------------------------------------------------------------------


def test_a_statement_that_fails_changes_nothing_and_is_told(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    harm(backup, b"CREATE TABLE public.notes", b"CREATE TABLE public.secrets_of_rows x")
    before = content(postgres, app)
    with pytest.raises(RestoreFailed, match="syntax error") as caught:
        restore(postgres, filled, backup)
    assert content(postgres, app) == before
    assert "syntax error" not in caught.value.audit_message
    assert any("syntax error" in line for line in caught.value.details["said"])


def test_a_cancelled_restore_changes_nothing_and_leaves_no_session(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    harm(backup, b"DROP SCHEMA :schema CASCADE", b"SELECT pg_sleep(300);\nDROP SCHEMA :schema CASCADE")
    before = content(postgres, app)

    async def cancelled() -> None:
        running = asyncio.ensure_future(postgres.databases.restore(filled, backup, progress=ignore_progress))
        await at_work(postgres, "pg_sleep(300)")
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    postgres.do(cancelled())
    with postgres.admin() as session:
        query = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'ikoma restore%'"
        eventually(lambda: session.execute(query).rowcount == 0)
    assert content(postgres, app) == before


def test_a_session_that_is_ended_from_outside_is_told(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    harm(backup, b"DROP SCHEMA :schema CASCADE", b"SELECT pg_sleep(300);\nDROP SCHEMA :schema CASCADE")
    before = content(postgres, app)

    async def ended() -> None:
        running = asyncio.ensure_future(postgres.databases.restore(filled, backup, progress=ignore_progress))
        await at_work(postgres, "pg_sleep(300)")
        with postgres.admin() as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ikoma restore%'"
            )
        with pytest.raises(DatabasesUnavailable, match="went away during the restore"):
            await running

    postgres.do(ended())
    assert content(postgres, app) == before


def test_no_child_of_a_restore_knows_the_password_by_its_arguments(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    harm(backup, b"DROP SCHEMA :schema CASCADE", b"SELECT pg_sleep(2);\nDROP SCHEMA :schema CASCADE")
    password = postgres.server.make_admin_login()["password"]

    async def look() -> set[str]:
        running = asyncio.ensure_future(postgres.databases.restore(filled, backup, progress=ignore_progress))
        seen = set[str]()
        while not running.done():
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    seen.add(" ".join(child.cmdline()))
            await asyncio.sleep(0.05)
        await running
        return {line for line in seen if "psql" in line}

    seen = postgres.do(look())
    assert seen
    assert not any(password in line for line in seen)


# --- sessions of the app -----------------------------------------------------------------------------------


def test_an_idle_session_goes_on_after_the_restore(postgres: Postgres, filled: Credentials, backup: Path) -> None:
    with postgres.login(filled) as session:
        session.execute("PREPARE p AS SELECT count(*) FROM people")
        assert session.execute("EXECUTE p").fetchone() == (103,)
        session.execute("DELETE FROM notes; DELETE FROM people")
        restore(postgres, filled, backup)
        assert session.execute("SELECT count(*) FROM people").fetchone() == (103,)
        assert session.execute("EXECUTE p").fetchone() == (103,)
        assert session.execute("INSERT INTO people (name) VALUES ('next') RETURNING id").fetchone() == (104,)


def test_a_session_that_keeps_a_lock_is_ended(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    before = content(postgres, app)
    with postgres.login(filled) as session:
        session.execute("BEGIN; INSERT INTO people (name) VALUES ('never committed')")
        restore(postgres, filled, backup)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert content(postgres, app) == before


def test_writers_wait_and_go_on(postgres: Postgres, filled: Credentials, backup: Path) -> None:
    """Some of their statements may fail while their tables are exchanged; what they write afterwards is there."""

    async def with_writers() -> None:
        stop = asyncio.Event()
        parameters: dict[str, Any] = postgres.server.make_app_login(filled)

        async def write(name: str) -> int:
            done = number = 0
            while not stop.is_set():
                number += 1
                try:
                    async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as session:
                        await session.execute("INSERT INTO parent VALUES (%s)", (number,))
                        done += 1
                except psycopg.Error:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.01)
            return done

        writing = [asyncio.ensure_future(write(f"w{number}")) for number in range(3)]
        await postgres.databases.restore(filled, backup, progress=ignore_progress)
        async with (
            asyncio.timeout(120),
            await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as session,
        ):
            while (await session.execute("SELECT FROM parent")).rowcount <= 3:
                await asyncio.sleep(0.05)
        stop.set()
        assert all(done > 0 for done in await asyncio.gather(*writing))

    postgres.do(with_writers())


def test_a_killed_psql_changes_nothing(postgres: Postgres, app: AppName, filled: Credentials, backup: Path) -> None:
    harm(backup, b"DROP SCHEMA :schema CASCADE", b"SELECT pg_sleep(300);\nDROP SCHEMA :schema CASCADE")
    before = content(postgres, app)

    async def killed() -> None:
        running = asyncio.ensure_future(postgres.databases.restore(filled, backup, progress=ignore_progress))
        await at_work(postgres, "pg_sleep(300)")
        ours = [child for child in psutil.Process().children(recursive=True) if child.name() == "psql"]
        for child in ours:
            os.kill(child.pid, signal.SIGKILL)
        assert ours
        with pytest.raises(RestoreFailed):
            await running

    postgres.do(killed())
    assert content(postgres, app) == before


def test_a_copy_under_another_name_restores(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path, tmp_path: Path
) -> None:
    before = content(postgres, app)
    other = tmp_path / "a copy; 'with' a name.sql"
    shutil.copy(backup, other)
    do_as_app(postgres, filled, "DROP TABLE notes")
    restore(postgres, filled, other)
    assert content(postgres, app) == before


# --- there is much of it -----------------------------------------------------------------------------------


def test_a_database_of_many_tables_and_large_objects_restores(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    with postgres.login(owned) as session:
        for number in range(40):
            tables = "; ".join(f"CREATE TABLE s{number}.t{i} (id serial PRIMARY KEY, t text UNIQUE)" for i in range(30))
            session.execute(f"CREATE SCHEMA s{number}; {tables}".encode())
        session.execute("SELECT count(lo_create(0)) FROM generate_series(1, 5000)")
    made = dump(postgres, app, tmp_path / "x.sql")
    do_as_app(postgres, owned, "DROP TABLE s7.t7; SELECT lo_unlink(max(oid)) FROM pg_largeobject_metadata")
    restore(postgres, owned, made.path)
    with postgres.login(owned) as session:
        count = "SELECT (SELECT count(*) FROM pg_tables WHERE schemaname ~ '^s'), count(*) FROM pg_largeobject_metadata"
        assert session.execute(count).fetchone() == (1200, 5000)


def test_too_few_locks_for_a_restore_are_told_at_the_backup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on an external server."""
    monkeypatch.setattr(cluster, "_LOCKS_EACH", 10)
    folder = state_folder()
    told: list[str] = []

    async def backed_up_and_restored() -> None:
        server = EmbeddedPostgres(settings_of(folder))
        databases = PostgresDatabases(server)
        await server.start()
        try:
            password = Secret("of-the-test")
            await databases.create(AppName("big"), password)
            owned = Credentials("big", "big", password)
            with psycopg.connect(**server.make_app_login(owned), autocommit=True) as session:
                for _ in range(50):
                    session.execute("SELECT count(lo_create(0)) FROM generate_series(1, 1000)")
            made = await databases.dump(AppName("big"), tmp_path / "x.sql", progress=lambda text, _: told.append(text))
            with pytest.raises(RestoreFailed) as caught:
                await databases.restore(owned, made.path, progress=ignore_progress)
            assert "max_locks_per_transaction" in str(caught.value.hint)
        finally:
            await databases.close()
            await server.stop()
            remove(folder)

    asyncio.run(backed_up_and_restored())
    assert any("max_locks_per_transaction" in text for text in told)
    assert "max_locks_per_transaction" in caplog.text


# --- into a database that stands in ------------------------------------------------------------------------


def test_a_database_that_stands_in_is_the_apps_alone_and_gone_after_the_block(
    postgres: Postgres, app: AppName, filled: Credentials, backup: Path
) -> None:
    before = content(postgres, app)
    other = make_database(postgres, AppName(f"{app}-other"))

    async def stand_in() -> str:
        async with postgres.databases.make_stand_in(filled) as place:
            await postgres.databases.restore(filled, backup, into=place, progress=ignore_progress)
            assert await postgres.databases.count_rows(place) == await postgres.databases.count_rows(filled)
            await postgres.databases.migrate(
                place, Migration.of("9.sql", "CREATE TABLE tried ()"), timeout=9, lock_timeout=9
            )
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                postgres.login(other, place.database)
            return place.database

    name = postgres.do(stand_in())
    with postgres.admin() as session:
        left = session.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchall()
        rules = session.execute(
            "SELECT address, netmask FROM pg_hba_file_rules WHERE database::text ~ 'stand-in'"
        ).fetchall()
    assert (left, rules) == ([], [("127.0.0.1", "255.255.255.255")])
    assert content(postgres, app) == before
    postgres.do(postgres.databases.drop(AppName(f"{app}-other")))


def test_no_copy_is_made_that_could_fill_the_disk(
    postgres: Postgres, filled: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbeddedPostgres, "measure_free_space", lambda self: 100 << 20)

    async def stand_in() -> None:
        async with postgres.databases.make_stand_in(filled):
            raise AssertionError("there is no room")

    with pytest.raises(DiskFull, match="100 MiB are free"):
        postgres.do(stand_in())
