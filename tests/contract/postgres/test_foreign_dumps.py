"""A dump that this server did not make is loaded as the app's own role, and can do nothing besides."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ikoma.errors import BackupDamaged, BackupForeign, BackupMissing, BackupUnproven, SandboxMissing
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import ignore_progress
from ikoma.postgres.backup import sandbox
from ikoma.postgres.server.tools import find_bundled
from tests.contract.postgres.conftest import Postgres, make_database
from tests.contract.postgres.test_dump import FIRST, content, dump, migrate

PLAIN = "--\n-- PostgreSQL database dump\n--\n\n{}\n--\n-- PostgreSQL database dump complete\n--\n"


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    migrate(postgres, owned, FIRST)
    return owned


def load(postgres: Postgres, owned: Credentials, path: Path, *options: str, told: Dump | None = None) -> str:
    """The content of the database beside once it was loaded there; that is gone afterwards."""
    found = []

    async def work() -> None:
        async with postgres.databases.make_beside(owned) as place:
            await postgres.databases.load_foreign(
                place, path, told=told, work=path.with_name("work"), what="No", progress=ignore_progress
            )
            found.append(await asyncio.to_thread(content, postgres, place.database, *options))

    try:
        postgres.do(work())
    finally:
        assert not path.with_name("work").exists()
    return found[0]


def pg_dump(postgres: Postgres, owned: Credentials, target: Path, *options: str) -> Path:
    parameters = postgres.server.make_admin_login(owned.database)
    where = f"host={parameters['host']} port={parameters['port']} user={parameters['user']} dbname={owned.database}"
    argv = [find_bundled() / "bin" / "pg_dump", *options, f"--file={target}", where]
    subprocess.run(argv, check=True, timeout=120, env={"PGPASSWORD": parameters["password"]})
    return target


def test_a_backup_of_another_ikoma_is_loaded_whole(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    made = dump(postgres, app, tmp_path / "x.sql")
    assert load(postgres, filled, made.path, told=made) == content(postgres, filled.database)


@pytest.mark.parametrize("options", [(), ("--no-owner", "--no-privileges"), ("--format=custom",)], ids=str)
def test_what_pg_dump_wrote_is_loaded_whole(
    postgres: Postgres, filled: Credentials, tmp_path: Path, options: tuple[str, ...]
) -> None:
    made = pg_dump(postgres, filled, tmp_path / "x.sql", *options)
    shown = ("--no-privileges",) if options else ()
    whole = content(postgres, filled.database, *shown)
    for _ in range(2):  # nothing is left of the first that the second could meet
        assert load(postgres, filled, made, *shown) == whole


def test_a_custom_archive_of_another_app_is_loaded_as_this_ones(
    postgres: Postgres, owned: Credentials, tmp_path: Path
) -> None:
    other = make_database(postgres, AppName(f"{owned.role}-o"))
    migrate(postgres, other, "CREATE TABLE t AS SELECT 1 AS n;")
    made = pg_dump(postgres, other, tmp_path / "x.sql", "--format=custom")
    of_ikoma = dump(postgres, AppName(other.role), tmp_path / "y.sql")
    found = load(postgres, owned, made)
    with pytest.raises(BackupForeign, match="whose role owns what is in it"):
        load(postgres, owned, of_ikoma.path)
    postgres.do(postgres.databases.drop(AppName(other.role)))
    assert "CREATE TABLE public.t (" in found


HOSTILE = [
    r"\! touch {}",
    r"\set x `touch {}`",
    r"\o | touch {}",
    r"\o {}",
    r"SELECT 1 \g {}",
    "CREATE TABLE t (x text);\n\\copy t FROM PROGRAM 'touch {}; echo 1'",
    "CREATE TABLE t (x text);\n\\copy t FROM '/etc/passwd'",
    "CREATE TABLE t (x text);\nCOPY t FROM PROGRAM 'touch {}; echo 1';",
    "CREATE TABLE t (x text);\nCOPY t FROM '/etc/passwd';",
    "COPY (SELECT 1) TO '{}';",
    "CREATE TABLE t (x text);\nINSERT INTO t SELECT pg_read_file('/etc/passwd');",
    "SELECT lo_import('/etc/passwd');",
    "CREATE EXTENSION file_fdw;",
    "CREATE ROLE more;",
    "ALTER ROLE CURRENT_USER SUPERUSER;",
    r"\connect postgres",
    r"\unrestrict guessed" + "\n" + r"\! touch {}",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_what_it_would_do_besides_fails_and_is_not_done(
    postgres: Postgres, owned: Credentials, tmp_path: Path, line: str
) -> None:
    place = tmp_path / "open"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    mark = place / "mark"
    dumped = tmp_path / "x.sql"
    dumped.write_text(PLAIN.format(line.replace("{}", str(mark))))
    with pytest.raises(BackupUnproven) as failed:
        load(postgres, owned, dumped)
    assert failed.value.audit_message == "No."
    assert list(place.iterdir()) == []


def test_psql_that_obeyed_could_still_do_nothing(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    """The sandbox alone, without psql's own restriction."""
    tmp_path.chmod(0o777)
    mark = tmp_path / "mark"
    port = postgres.server.make_admin_login()["port"]

    async def work() -> subprocess.CompletedProcess[bytes]:
        async with sandbox.open_sandbox(postgres.server.make_app_login(owned)) as sealed:
            tries = (
                *("import os, socket, subprocess",),
                *(
                    "def tried(name, do):",
                    "  try: do(); print(name, 'DONE')",
                    "  except OSError: print(name, 'refused')",
                ),
                f"tried('net', lambda: socket.create_connection(('127.0.0.1', {port})))",
                "tried('udp', lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))",
                "tried('netlink', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))",
                "tried('packets', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))",
                f"tried('program', lambda: subprocess.run(['/usr/bin/touch', {str(mark)!r}]))",
                "tried('fork', os.fork)",
                "tried('root', lambda: os.setuid(0))",
                "tried('keys', lambda: open('/etc/shadow'))",
                "tried('docker', lambda: socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock'))",
                f"s = socket.socket(socket.AF_UNIX); s.connect('{sealed.parameters['host']}/.s.PGSQL.5432')",
                "print('server reached')",
            )
            argv = sealed.wrap(["/usr/bin/env", "python3", "-c", "\n".join(tries)])
            return await _run(argv)

    finished = postgres.do(work())
    said = finished.stdout.decode().splitlines()
    assert finished.returncode == 0, finished.stderr
    assert said[-1] == "server reached"
    assert [line.split()[1] for line in said[:-1]] == ["refused"] * 9
    assert not mark.exists()


async def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(subprocess.run, argv, capture_output=True, timeout=60)


def test_it_runs_in_no_way_but_sealed(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    dumped = tmp_path / "x.sql"
    dumped.write_text(PLAIN.format("CREATE TABLE t (n int);"))
    elsewhere = {**postgres.server.make_app_login(owned), "host": "db.example.com"}
    with pytest.raises(SandboxMissing, match="on another machine"):
        postgres.do(_open(elsewhere))
    argv = sandbox.Sandbox({}).wrap(["/nowhere/psql"])
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    with pytest.raises(SandboxMissing, match="No such file or directory: /nowhere/psql"):
        sandbox.Sandbox({}).check(finished.returncode, finished.stderr.splitlines())


async def _open(parameters: dict[str, object]) -> None:
    async with sandbox.open_sandbox(parameters):
        pass


def test_what_is_no_dump_or_not_whole_is_refused(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    made = dump(postgres, app, tmp_path / "x.sql")
    plain = pg_dump(postgres, filled, tmp_path / "plain.sql").read_bytes()
    packed = pg_dump(postgres, filled, tmp_path / "packed.sql", "--format=custom").read_bytes()
    whole = made.path.read_bytes()
    damaged = tmp_path / "damaged.sql"
    for text in (whole[: len(whole) // 2], whole[:-200], whole[:200], plain[:-100], plain[: len(plain) // 2]):
        damaged.write_bytes(text)
        with pytest.raises(BackupDamaged):
            load(postgres, filled, damaged)
    damaged.write_bytes(packed[:-100])
    with pytest.raises(BackupUnproven):
        load(postgres, filled, damaged)
    for text in (b"", b"SELECT 1;\n", b"\x1f\x8b0000"):
        damaged.write_bytes(text)
        with pytest.raises(BackupForeign, match="no dump of PostgreSQL"):
            load(postgres, filled, damaged)
    link = tmp_path / "link.sql"
    link.symlink_to(made.path)
    with pytest.raises(BackupMissing):
        load(postgres, filled, link)
    told = replace(made, tables={**made.tables, "people": made.tables["people"] + 1})
    with pytest.raises(BackupUnproven, match="people has"):
        load(postgres, filled, made.path, told=told)
