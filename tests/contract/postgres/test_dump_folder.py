"""Databases' promises of PostgreSQL's directory format: several workers write and restore it."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ikoma.errors import BackupDamaged, BackupFailed, BackupUnproven, DiskFull
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import ignore_progress
from tests.contract.postgres import test_checksums, test_dump, test_restorable
from tests.contract.postgres.conftest import Postgres, at_work, make_database
from tests.contract.postgres.test_dump import content
from tests.contract.postgres.test_restorable import fill, prove

ROWS = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 100000) AS n"
MADE = {"all types": test_checksums.ZOO, "all kinds of things": test_dump.FIRST} | {
    name: test_restorable.HELPERS + made for name, made in test_restorable.ZOO.items()
}


def dump(postgres: Postgres, app: AppName, path: Path) -> Dump:
    made: Dump = postgres.do(postgres.databases.dump_folder(app, path, ignore_progress))
    return made


@pytest.mark.parametrize("made", MADE)
def test_it_comes_back_equal_or_is_refused_by_its_proof(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, made: str
) -> None:
    fill(postgres, owned, MADE[made])
    told = dump(postgres, app, tmp_path / "folder")
    plain = postgres.do(postgres.databases.dump(app, tmp_path / "x.sql", summed=True, progress=ignore_progress))
    assert (told.tables, told.checksums, told.postgres) == (plain.tables, plain.checksums, plain.postgres)
    try:
        prove(postgres, owned, told)
    except BackupUnproven:  # what needs the app's search path: such a database is dumped as one text
        prove(postgres, owned, plain)
        assert not made.startswith("all ")
        return

    async def equal() -> None:
        async with postgres.databases.make_stand_in(owned) as place:
            await postgres.databases.prove(owned, told, place, what="It differs", progress=ignore_progress)
            there = await asyncio.to_thread(content, postgres, place.database)
            assert there == await asyncio.to_thread(content, postgres, app.database)

    if made != "all types":  # columns that are inherited come back in another order, as pg_dump has it
        postgres.do(equal())


def test_another_app_can_have_it(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    fill(postgres, owned, ROWS)
    told = dump(postgres, app, tmp_path / "folder")
    heir = AppName(f"{app}-heir")
    other = make_database(postgres, heir)
    try:
        postgres.do(
            postgres.databases.fill(
                other, told, of=app, work=tmp_path / "work", what="It failed", progress=ignore_progress
            )
        )
        with postgres.login(other) as session:
            assert session.execute("SELECT count(*) FROM t").fetchall() == [(100_000,)]
            assert session.execute("SELECT tableowner FROM pg_tables WHERE tablename = 't'").fetchall() == [
                (str(heir),)
            ]
    finally:
        postgres.do(postgres.databases.drop(heir))


def test_its_restore_tells_how_far_it_is(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    fill(postgres, owned, "; ".join(f"{ROWS.replace('TABLE t', f'TABLE t{number}')}" for number in range(3)))
    told = dump(postgres, app, tmp_path / "folder")
    heard: list[float] = []

    def hear(message: str, fraction: float | None = None) -> None:
        if message.startswith("restore: "):
            assert fraction is not None
            heard.append(fraction)

    async def restored() -> None:
        async with postgres.databases.make_stand_in(owned) as place:
            await postgres.databases.prove(owned, told, place, what="It differs", progress=hear)

    postgres.do(restored())
    assert len(heard) == 3
    assert heard == sorted(heard)
    assert heard[-1] == 0.99


# --- failing -----------------------------------------------------------------------------------------------


def harm(folder: Path, how: str) -> None:
    (data,) = [path for path in folder.glob("*.dat") if path.stat().st_size > 1 << 20]
    if how == "a file was cut off":
        os.truncate(data, data.stat().st_size // 2)
    elif how == "a file is gone":
        data.unlink()
    elif how == "a byte is another":
        text = data.read_bytes()
        data.write_bytes(text.replace(b"\t", b"\tx", 1))
    elif how == "its contents were cut off":
        os.truncate(folder / "toc.dat", (folder / "toc.dat").stat().st_size // 2)


HARM = ["a file was cut off", "a file is gone", "a byte is another", "its contents were cut off"]


def test_what_was_harmed_is_no_proof(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    fill(postgres, owned, ROWS)
    told = dump(postgres, app, tmp_path / "folder")
    shutil.copytree(told.path, tmp_path / "kept")
    for how in HARM:
        harm(told.path, how)
        with pytest.raises((BackupUnproven, BackupDamaged)):
            prove(postgres, owned, told)
        shutil.rmtree(told.path)
        shutil.copytree(tmp_path / "kept", told.path)
    assert prove(postgres, owned, told) > 0


def test_a_full_disk_is_told(postgres: Postgres, app: AppName, owned: Credentials, small_disk: Path) -> None:
    fill(postgres, owned, ROWS)
    with pytest.raises(DiskFull):
        dump(postgres, app, small_disk / "folder")


@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_what_ends_in_the_middle_leaves_no_process(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, how: str
) -> None:
    fill(postgres, owned, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 200000)")

    async def ended() -> None:
        running = asyncio.ensure_future(postgres.databases.dump_folder(app, tmp_path / "folder", ignore_progress))
        await at_work(postgres, "COPY public.t ")
        if how == "cancelled":
            running.cancel()
        else:
            for child in list_dumping():
                with suppress(psutil.NoSuchProcess):  # it went with another that was killed
                    child.kill()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else BackupFailed):
            await running

    postgres.do(ended())
    assert list_dumping() == []


def list_dumping() -> list[psutil.Process]:
    """List the pg_dump processes of this one; others of it may end meanwhile."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "pg_dump":
                found.append(child)
    return found
