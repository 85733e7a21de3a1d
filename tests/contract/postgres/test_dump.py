"""Databases' promises about dumps: plain psql makes the database equal the dump again, or changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from ikoma.errors import AppBusy, BackupExists, BackupFailed, DatabasesUnavailable, DiskFull
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump, Migration
from ikoma.ports.progress import ignore_progress
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.tools import find_bundled
from tests.contract.conftest import remove, settings_of, state_folder
from tests.contract.postgres.conftest import Postgres, at_work, make_database
from tests.support import eventually

FIRST = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE people (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    mood mood DEFAULT 'happy',
    twice int GENERATED ALWAYS AS (length(name) * 2) STORED
);
CREATE TABLE "Odd ""name"", with; all" ("a column" text, "select" int);
CREATE TABLE bare ();
CREATE TABLE notes (id serial PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE, body text);
CREATE INDEX ON notes (lower(body));
CREATE SCHEMA stock;
CREATE TABLE stock.items (id int, day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE stock.items_2026 PARTITION OF stock.items FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE stock.items_rest PARTITION OF stock.items DEFAULT;
CREATE TABLE parent (id int);
CREATE TABLE child (more text) INHERITS (parent);
CREATE VIEW happy AS SELECT * FROM people WHERE mood = 'happy';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM people;
CREATE FUNCTION greet(who text) RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
    -- this looks like a dump's own lines:
    RETURN 'x
COPY public.people (id, name) FROM stdin;
1	a
\\.
';
END $body$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.body := trim(NEW.body); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION touch();
CREATE EXTENSION citext;
CREATE TABLE loud (name citext);
ALTER TABLE loud ENABLE ROW LEVEL SECURITY;
ALTER TABLE loud FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON loud USING (false);
CREATE PUBLICATION changes FOR TABLE people;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
COMMENT ON TABLE people IS 'über; people';
COMMENT ON SCHEMA public IS 'ours';
INSERT INTO people (name) SELECT 'name ' || n FROM generate_series(1, 100) AS n;
INSERT INTO people (name) VALUES (E'tab\\there\\nline\\\\.'), ('\\.'), ('ü🎈');
INSERT INTO "Odd ""name"", with; all" VALUES (NULL, 1), ('', 2), (E'\\n\\\\.\\n', 3);
INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;
INSERT INTO notes (person, body) SELECT id, name FROM people;
INSERT INTO stock.items SELECT n, '2026-01-01'::date + n * 10 FROM generate_series(1, 50) AS n;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x'), (3, 'y');
SELECT lo_from_bytea(0, 'a large object');
SELECT setval('notes_id_seq', 1000);
"""

SINCE = [
    "INSERT INTO people (name) VALUES ('since')",
    "DELETE FROM people WHERE id < 50",
    "TRUNCATE notes; DROP TABLE notes",
    "ALTER TABLE people ADD COLUMN since int DEFAULT 7; ALTER TABLE people DROP COLUMN twice CASCADE",
    "CREATE TABLE more (id serial); INSERT INTO more DEFAULT VALUES",
    "CREATE SCHEMA since; CREATE TABLE since.t (id int); CREATE VIEW since.v AS SELECT * FROM public.people",
    "CREATE TYPE since AS (a int); CREATE TYPE range_since AS RANGE (subtype = int4); ALTER TYPE mood ADD VALUE 'so'",
    "CREATE FUNCTION since() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; DROP FUNCTION greet",
    "CREATE AGGREGATE mine (int) (SFUNC = int4pl, STYPE = int4)",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "CREATE SEQUENCE since; SELECT nextval('notes_id_seq')",
    "CREATE EXTENSION hstore; CREATE TABLE pairs (h hstore)",
    "DROP EXTENSION citext CASCADE",
    "SELECT lo_create(0) FROM generate_series(1, 20); SELECT lo_unlink(max(oid)) FROM pg_largeobject_metadata",
    "CREATE PUBLICATION since FOR TABLE parent; DROP PUBLICATION changes",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    "COMMENT ON SCHEMA public IS 'theirs'; COMMENT ON TABLE people IS NULL",
    "GRANT ALL ON SCHEMA public TO PUBLIC; REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    "DROP SCHEMA public CASCADE",
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
    "ALTER SCHEMA stock RENAME TO moved",
    "CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple); CREATE COLLATION mine (locale = 'C')",
    "CREATE STATISTICS s ON id, name FROM people",
    "CREATE CAST (mood AS text) WITH INOUT",
    "DROP SCHEMA ikoma CASCADE",
]


def migrate(postgres: Postgres, owned: Credentials, text: str) -> None:
    migration = Migration.of("1.sql", text)
    assert postgres.do(postgres.databases.migrate(owned, migration, timeout=60, lock_timeout=5))


def dump(postgres: Postgres, app: AppName, target: Path, *, restore_as: AppName | None = None) -> Dump:
    made: Dump = postgres.do(postgres.databases.dump(app, target, restore_as=restore_as, progress=lambda *_: None))
    return made


def restore(postgres: Postgres, database: str, file: Path) -> subprocess.CompletedProcess[str]:
    """As the runbook says, word for word: psql -U ikoma -d DATABASE < FILE."""
    admin = postgres.server.make_admin_login()
    env = {"PGHOST": admin["host"], "PGPORT": str(admin["port"]), "PGPASSWORD": admin["password"], "LANG": "C.UTF-8"}
    argv = [find_bundled() / "bin" / "psql", "-U", "ikoma", "-d", database]
    with file.open("rb") as stream:
        done = subprocess.run(argv, stdin=stream, env=env, capture_output=True, text=True, timeout=120, check=False)
    done.stderr = re.sub(r'WARNING:  "wal_level" is insufficient.*\nHINT: .*\n', "", done.stderr)  # for publications
    return done


def content(postgres: Postgres, database: str, *options: str) -> str:
    """All of a database, by PostgreSQL's own account."""
    admin = postgres.server.make_admin_login()
    env = {"PGHOST": admin["host"], "PGPORT": str(admin["port"]), "PGPASSWORD": admin["password"], "PGUSER": "ikoma"}
    argv = [find_bundled() / "bin" / "pg_dump", *options, database]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


def owners(postgres: Postgres, database: str) -> list[tuple[Any, ...]]:
    with postgres.admin(database) as session:
        return session.execute(
            "SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace"
            " WHERE nspname !~ '^pg_' ORDER BY 1"
        ).fetchall()


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    migrate(postgres, owned, FIRST)
    return owned


# --- restoring ---------------------------------------------------------------------------------------------


def test_a_restored_database_equals_its_dump_twice_in_a_row(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    before, owned_by = content(postgres, app), owners(postgres, app)
    file = dump(postgres, app, tmp_path / "x.sql").path
    for change in (SINCE[0], "SELECT 1"):
        with postgres.login(filled) as session:
            session.execute(change.encode())
        done = restore(postgres, app, file)
        assert (done.returncode, done.stderr) == (0, "")
        assert content(postgres, app) == before
        assert owners(postgres, app) == owned_by


@pytest.mark.parametrize("change", SINCE)
def test_whatever_was_made_since_is_gone(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, change: str
) -> None:
    before = content(postgres, app)
    file = dump(postgres, app, tmp_path / "x.sql").path
    with postgres.login(filled) as session:
        session.execute(change.encode())
    assert content(postgres, app) != before
    done = restore(postgres, app, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(postgres, app) == before


def test_what_an_admin_made_since_is_gone_too(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    before = content(postgres, app)
    file = dump(postgres, app, tmp_path / "x.sql").path
    with postgres.admin(app) as session:
        session.execute("CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        session.execute("CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION public.e()")
        session.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw")
        session.execute("CREATE USER MAPPING FOR PUBLIC SERVER s")
        session.execute("CREATE FOREIGN DATA WRAPPER bare")
        session.execute("ALTER TABLE public.people OWNER TO ikoma; CREATE PUBLICATION everything FOR ALL TABLES")
        session.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    done = restore(postgres, app, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(postgres, app) == before


def test_the_app_goes_on_after_a_restore(postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path) -> None:
    file = dump(postgres, app, tmp_path / "x.sql").path
    assert restore(postgres, app, file).returncode == 0
    postgres.do(postgres.databases.check_login(filled))
    with postgres.login(filled) as session:
        session.execute("CREATE TABLE again (id int); CREATE SCHEMA again; CREATE EXTENSION pg_trgm")
        row = session.execute("INSERT INTO notes (person, body) VALUES (1, 'x') RETURNING id").fetchone()
        assert row == (1001,)
        row = session.execute("INSERT INTO people (name) VALUES ('next') RETURNING id").fetchone()
        assert row == (104,)
    assert [entry.name for entry in postgres.do(postgres.databases.read_ledger(filled))] == ["1.sql"]
    again = Migration.of("1.sql", FIRST)
    assert not postgres.do(postgres.databases.migrate(filled, again, timeout=60, lock_timeout=5))


def test_an_empty_database_comes_back_empty(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    made = dump(postgres, app, tmp_path / "x.sql")
    assert made.tables == {}
    before = content(postgres, app)
    migrate(postgres, owned, FIRST)
    assert restore(postgres, app, made.path).returncode == 0
    assert content(postgres, app) == before


def test_a_dump_restores_into_a_new_database_of_its_app(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    file = dump(postgres, app, tmp_path / "x.sql").path
    before = content(postgres, app)
    postgres.do(postgres.databases.drop(app))
    make_database(postgres, app)
    assert restore(postgres, app, file).returncode == 0
    assert content(postgres, app) == before


def test_a_dump_for_an_heir_makes_all_of_it_the_heirs(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    other = AppName.parse(f"{app}--copy")
    theirs = make_database(postgres, other)
    try:
        file = dump(postgres, app, tmp_path / "x.sql", restore_as=other).path
        postgres.do(postgres.databases.restore(theirs, file, progress=lambda *_: None))
        bare = ("--no-owner", "--no-privileges")
        assert content(postgres, other, *bare) == content(postgres, app, *bare)
        with postgres.admin(other) as session:
            owned_by = session.execute(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
        assert owned_by == [(other.role,)]
        with postgres.login(theirs) as session:
            session.execute("INSERT INTO people (name) VALUES ('theirs'); DROP TABLE notes; CREATE TABLE more (id int)")
        assert [entry.name for entry in postgres.do(postgres.databases.read_ledger(theirs))] == ["1.sql"]
        migrated = Migration.of("2.sql", "ALTER TABLE people ADD COLUMN more int")
        assert postgres.do(postgres.databases.migrate(theirs, migrated, timeout=60, lock_timeout=5))
        with pytest.raises(psycopg.OperationalError):
            postgres.login(filled, other.database)
    finally:
        postgres.do(postgres.databases.drop(other))


@pytest.mark.parametrize("harm", ["statement", "copy", "half", "end", "clearing", "last-line"])
def test_a_failing_restore_changes_nothing_and_says_so(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, harm: str
) -> None:
    file = dump(postgres, app, tmp_path / "x.sql").path
    text = file.read_bytes()
    rows = text.rindex(b"COPY :target FROM stdin;")
    harmed = {
        "statement": text[:rows] + b"SELECT nonsense;\n" + text[rows:],
        "copy": text.replace(b"\tname 7\t", b"\tname 7\tmore\t", 1),
        "half": text[: rows + 200],
        "end": text[: text.rindex(b"COMMIT;")],
        "clearing": text[: text.index(b"END\n$clear$")],
        "last-line": text[: text.rindex(b"\\endif")],
    }[harm]
    file.write_bytes(harmed)
    before = content(postgres, app)
    with postgres.login(filled) as session:
        session.execute("INSERT INTO people (name) VALUES ('since')")
    changed = content(postgres, app)
    assert changed != before
    assert restore(postgres, app, file).returncode != 0
    if harm != "last-line":  # all of it was there; only its last word was not
        assert content(postgres, app) == changed


def test_an_apps_own_functions_do_not_run_as_the_admin_while_clearing(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    file = dump(postgres, app, tmp_path / "x.sql").path
    with postgres.login(filled) as session:
        for schema in ("public", "ikoma"):
            session.execute(
                f"CREATE FUNCTION {schema}.boom(name, name) RETURNS bool LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE 'ran'; END $$;"
                f"CREATE OPERATOR {schema}.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = {schema}.boom);"
                f"CREATE OPERATOR {schema}.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = {schema}.boom)".encode()
            )
    done = restore(postgres, app, file)
    assert (done.returncode, done.stderr) == (0, "")


# --- the file ----------------------------------------------------------------------------------------------


def test_size_digest_and_rows_are_those_of_the_file(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    made = dump(postgres, app, tmp_path / "x.sql")
    text = made.path.read_bytes()
    assert (made.size, made.sha256) == (len(text), hashlib.sha256(text).hexdigest())
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert dict(made.tables) == {
        "people": 103,
        'Odd "name", with; all': 3,
        "bare": 2,
        "notes": 103,
        "stock.items_2026": 36,
        "stock.items_rest": 14,
        "parent": 1,
        "child": 2,
        "loud": 0,
    }


def test_an_existing_backup_is_never_touched(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    target = tmp_path / "x.sql"
    target.write_text("older")
    with pytest.raises(BackupExists):
        dump(postgres, app, target)
    assert target.read_text() == "older"
    assert list(tmp_path.iterdir()) == [target]


def test_two_dumps_of_one_name_make_one_file(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    async def together() -> list[Any]:
        target = tmp_path / "x.sql"
        both = [postgres.databases.dump(app, target, progress=lambda *_: None) for _ in range(2)]
        return list(await asyncio.gather(*both, return_exceptions=True))

    made, refused = sorted(postgres.do(together()), key=lambda one: isinstance(one, Exception))
    assert isinstance(refused, BackupExists)
    assert hashlib.sha256((tmp_path / "x.sql").read_bytes()).hexdigest() == made.sha256
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_are_counted_in_the_dumps_own_snapshot(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    migrate(postgres, owned, "CREATE TABLE a (id int, t text); CREATE TABLE b (id int)")

    async def with_writer() -> Dump:
        stop, begun = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with await psycopg.AsyncConnection.connect(**postgres.server.make_app_login(owned)) as session:
                while not stop.is_set():
                    await session.execute(
                        "INSERT INTO a SELECT n, repeat('x', 100) FROM generate_series(1, 500) AS n;"
                        "INSERT INTO b SELECT generate_series(1, 500)"
                    )
                    await session.commit()
                    begun.set()

        writing = asyncio.ensure_future(write())
        await asyncio.wait_for(begun.wait(), 60)
        made = await postgres.databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None)
        stop.set()
        await writing
        return made

    made = postgres.do(with_writer())
    assert made.tables["a"] == made.tables["b"] > 0
    assert restore(postgres, app, made.path).returncode == 0
    with postgres.login(owned) as session:
        assert session.execute("SELECT count(*) FROM a").fetchone() == (made.tables["a"],)


def test_memory_stays_flat(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    migrate(
        postgres,
        owned,
        "CREATE TABLE t AS SELECT n, repeat('x', 600) FROM generate_series(1, 300000) AS n",
    )
    process, told = psutil.Process(), []
    before = process.memory_info().rss

    def progress(message: str, fraction: float | None = None) -> None:
        told.append((fraction, process.memory_info().rss - before))

    made = postgres.do(postgres.databases.dump(app, tmp_path / "x.sql", progress=progress))
    assert made.size > 150 << 20
    assert made.tables == {"t": 300_000}
    assert len(told) >= 4
    assert max(grown for _, grown in told) < 32 << 20
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


# --- failing -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_leaves_no_file(postgres: Postgres, app: AppName, owned: Credentials, small_disk: Path) -> None:
    migrate(postgres, owned, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    with pytest.raises(DiskFull):
        dump(postgres, app, small_disk / "x.sql")
    assert list(small_disk.iterdir()) == []


def test_no_database_makes_no_file(postgres: Postgres, app: AppName, tmp_path: Path) -> None:
    with pytest.raises(DatabasesUnavailable, match="does not exist"):
        dump(postgres, app, tmp_path / "x.sql")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_dumped_makes_no_file(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    with postgres.admin(app) as session:
        session.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw")
        session.execute("SET session_replication_role = replica")
        session.execute("CREATE TABLE public.t (id int)")
        session.execute("DELETE FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attnum = 1")
    with pytest.raises(BackupFailed, match="pg_dump failed"):
        dump(postgres, app, tmp_path / "x.sql")
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_dump_leaves_no_file_and_no_process(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    migrate(postgres, owned, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 200000)")

    async def cancelled() -> None:
        task = asyncio.ensure_future(postgres.databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None))
        await at_work(postgres, "COPY public.t ")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    postgres.do(cancelled())
    assert list(tmp_path.iterdir()) == []
    with postgres.admin() as session:
        query = "SELECT FROM pg_stat_activity WHERE starts_with(application_name, 'ikoma dump') AND datname = %s"
        eventually(lambda: session.execute(query, (str(app),)).rowcount == 0)


def test_postgresql_killed_during_a_dump_leaves_no_file(tmp_path: Path) -> None:
    folder = state_folder()

    async def killed() -> None:
        server = EmbeddedPostgres(settings_of(folder))
        await server.start()
        databases = PostgresDatabases(server)
        app = AppName("killed")
        try:
            postgres = Postgres(server, databases, lambda _: None)
            from ikoma.model import Secret

            await databases.create(app, Secret("x"))
            with postgres.admin(app) as session:
                session.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 300000)")
            dumping = asyncio.ensure_future(databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None))
            await at_work(postgres, "COPY public.t ")
            assert not dumping.done()
            data = folder / "postgres" / "data"
            os.kill(int((data / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGKILL)
            with pytest.raises(DatabasesUnavailable):
                await dumping
            assert list(tmp_path.iterdir()) == []
            async with asyncio.timeout(120):
                while True:
                    try:
                        await databases.dump(app, tmp_path / "x.sql", progress=lambda *_: None)
                        break
                    except (DatabasesUnavailable, BackupFailed):
                        await asyncio.sleep(0.2)
        finally:
            await databases.close()
            await server.stop()

    try:
        asyncio.run(killed())
    finally:
        remove(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["x.sql"]


def test_the_app_name_is_quoted_wherever_it_goes(postgres: Postgres, tmp_path: Path) -> None:
    app = AppName.parse("a-b_c-" + "x" * 56)
    owned = make_database(postgres, app)
    try:
        with postgres.login(owned) as session:
            session.execute(sql.SQL("CREATE TABLE t AS SELECT 1"))
        assert dump(postgres, app, tmp_path / "x.sql").tables == {"t": 1}
        assert restore(postgres, app, tmp_path / "x.sql").returncode == 0
    finally:
        postgres.do(postgres.databases.drop(app))
        shutil.rmtree(tmp_path, ignore_errors=True)


LOCKS = [
    "LOCK TABLE people IN ACCESS EXCLUSIVE MODE",
    "ALTER VIEW seen RENAME TO unseen",
    "ALTER SEQUENCE lone RENAME TO alone",
]


def hold(postgres: Postgres, owned: Credentials, statement: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A session that keeps what it locked."""
    session = postgres.login(owned)
    session.execute("CREATE VIEW seen AS SELECT 1 AS n; CREATE SEQUENCE lone")
    session.execute("SET application_name = 'the one'")
    session.execute(f"BEGIN; {statement}".encode())
    return session


@pytest.mark.parametrize("statement", LOCKS)
def test_a_table_that_stays_locked_is_told_with_who_locks_it(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, statement: str
) -> None:
    with hold(postgres, filled, statement) as session:
        with pytest.raises(AppBusy, match=rf"process {session.info.backend_pid} of .* \(the one\)"):
            dump(postgres, app, tmp_path / "x.sql")
        assert list(tmp_path.iterdir()) == []
        session.execute("COMMIT")
    dump(postgres, app, tmp_path / "x.sql")


@pytest.mark.parametrize("statement", LOCKS)
def test_who_insists_ends_the_apps_sessions_that_keep_a_lock(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, statement: str
) -> None:
    with hold(postgres, filled, statement) as session:
        postgres.do(postgres.databases.dump(app, tmp_path / "x.sql", terminate_blockers=True, progress=ignore_progress))
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def test_who_insists_ends_no_session_of_another(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    with postgres.admin(app) as session:
        session.execute("BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(AppBusy, match="of ikoma"):
            postgres.do(
                postgres.databases.dump(app, tmp_path / "x.sql", terminate_blockers=True, progress=ignore_progress)
            )
        session.execute("COMMIT")
