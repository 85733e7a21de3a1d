"""Databases' promises of packed dumps: what a plain one promises, in a fraction of the room."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from ikoma.errors import BackupDamaged, BackupFailed, DiskFull, RestoreFailed
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import ignore_progress
from tests.contract.postgres import test_checksums, test_dump, test_restorable
from tests.contract.postgres.conftest import Postgres, at_work
from tests.contract.postgres.test_dump import content, restore
from tests.contract.postgres.test_restorable import fill, prove

ROWS = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 100000) AS n"
MADE = {"all kinds of things": test_dump.FIRST, "all types": test_checksums.ZOO} | {
    name: test_restorable.HELPERS + made for name, made in test_restorable.ZOO.items()
}
SINCE = "CREATE TABLE since (id int); DROP FUNCTION IF EXISTS plain(text) CASCADE"


def dump(postgres: Postgres, app: AppName, path: Path) -> Dump:
    made: Dump = postgres.do(postgres.databases.dump(app, path, summed=True, progress=ignore_progress))
    return made


@pytest.fixture
def packed(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> Path:
    fill(postgres, owned, ROWS)
    return dump(postgres, app, tmp_path / "x.sql.zst").path


@pytest.mark.parametrize("made", MADE)
def test_a_database_comes_back_by_a_proof_a_call_and_by_hand(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, made: str
) -> None:
    fill(postgres, owned, MADE[made])
    told = dump(postgres, app, tmp_path / "x.sql.zst")
    assert prove(postgres, owned, told) > 0
    assert (told.size, told.sha256) == (told.path.stat().st_size, hashlib.sha256(told.path.read_bytes()).hexdigest())
    plain = dump(postgres, app, tmp_path / "x.sql")
    assert (told.tables, told.checksums) == (plain.tables, plain.checksums)

    fill(postgres, owned, SINCE)
    postgres.do(postgres.databases.restore(owned, told.path, progress=ignore_progress))
    assert dump(postgres, app, tmp_path / "again.sql").checksums == told.checksums
    once = content(postgres, app)
    fill(postgres, owned, SINCE)
    subprocess.run(["zstd", "-q", "-d", told.path, "-o", tmp_path / "by-hand.sql"], check=True)
    done = restore(postgres, app, tmp_path / "by-hand.sql")
    assert (done.returncode, done.stderr) == (0, "")
    assert content(postgres, app) == once


def test_it_is_a_fraction_of_the_plain_text_and_needs_little_memory(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    fill(postgres, owned, "CREATE TABLE t AS SELECT n, repeat('x', 600) FROM generate_series(1, 300000) AS n")
    process, told = psutil.Process(), []
    before = process.memory_info().rss

    def progress(message: str, fraction: float | None = None) -> None:
        told.append((fraction, process.memory_info().rss - before))

    made = postgres.do(postgres.databases.dump(app, tmp_path / "x.sql.zst", progress=progress))
    postgres.do(postgres.databases.restore(owned, made.path, progress=ignore_progress))
    assert made.size < 20 << 20
    assert made.tables == {"t": 300_000}
    assert len(told) >= 4
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert max(grown for _, grown in told) < 32 << 20


# --- failing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0001, 0.1, 0.9, 0.9999])
def test_one_that_was_cut_off_changes_nothing(
    postgres: Postgres, app: AppName, owned: Credentials, packed: Path, kept: float
) -> None:
    before = content(postgres, app)
    os.truncate(packed, int(packed.stat().st_size * kept))
    with pytest.raises(BackupDamaged):
        postgres.do(postgres.databases.restore(owned, packed, progress=ignore_progress))
    assert content(postgres, app) == before


@pytest.mark.parametrize("place", [0.3, 0.9999999])
def test_a_changed_byte_is_found_without_a_manifest(
    postgres: Postgres, app: AppName, owned: Credentials, packed: Path, place: float
) -> None:
    before = content(postgres, app)
    bytes_ = bytearray(packed.read_bytes())
    bytes_[int(len(bytes_) * place)] ^= 1
    packed.write_bytes(bytes_)
    with pytest.raises(BackupDamaged):
        postgres.do(postgres.databases.restore(owned, packed, progress=ignore_progress))
    assert content(postgres, app) == before


def test_a_file_that_becomes_another_while_it_is_restored_changes_nothing(
    postgres: Postgres, app: AppName, owned: Credentials, packed: Path
) -> None:
    fill(postgres, owned, "INSERT INTO t VALUES (0, 'since')")
    before = content(postgres, app)

    def progress(message: str, fraction: float | None = None) -> None:
        if "verify" not in message:
            os.truncate(packed, packed.stat().st_size // 2)

    with pytest.raises((BackupDamaged, RestoreFailed)), postgres.login(owned) as session:
        session.execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")  # psql waits, so that there is a moment for it
        postgres.do(postgres.databases.restore(owned, packed, progress=progress))
    assert content(postgres, app) == before


def test_a_full_disk_leaves_no_file(postgres: Postgres, app: AppName, owned: Credentials, small_disk: Path) -> None:
    fill(postgres, owned, ROWS)
    with pytest.raises(DiskFull):
        dump(postgres, app, small_disk / "x.sql.zst")
    assert list(small_disk.iterdir()) == []


def test_a_cancelled_dump_leaves_no_file(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    fill(postgres, owned, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 200000)")

    async def cancelled() -> None:
        task = asyncio.ensure_future(postgres.databases.dump(app, tmp_path / "x.sql.zst", progress=ignore_progress))
        await at_work(postgres, "COPY public.t ")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    postgres.do(cancelled())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("program", "fails"), [("pg_dump", BackupFailed), ("psql", RestoreFailed)])
def test_a_killed_program_leaves_no_file_and_changes_nothing(
    postgres: Postgres, app: AppName, owned: Credentials, packed: Path, program: str, fails: type[Exception]
) -> None:
    fill(postgres, owned, "CREATE TABLE more AS SELECT repeat('x', 1000) FROM generate_series(1, 200000)")
    before = content(postgres, app)

    async def killed() -> None:
        if program == "pg_dump":
            work = postgres.databases.dump(app, packed.with_name("y.sql.zst"), progress=ignore_progress)
        else:
            work = postgres.databases.restore(owned, packed, progress=ignore_progress)
        running = asyncio.ensure_future(work)
        await at_work(postgres, "COPY public." if program == "pg_dump" else "ikoma restore")
        for child in psutil.Process().children(recursive=True):
            if child.name() == program:
                os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(fails):
            await running

    postgres.do(killed())
    assert content(postgres, app) == before
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]
