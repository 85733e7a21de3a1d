"""The archive of a real server, and the way back to a second of one of its databases, or a clear refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.errors import ArchiveBroken, DatabaseMissing, TimeOutsideWindow
from ikoma.model import AppName, Secret
from ikoma.moments import parse_moment
from ikoma.ports.databases import Credentials
from ikoma.postgres.archive import point_in_time
from ikoma.postgres.archive.archive import Archive, drop_slot
from ikoma.postgres.archive.point_in_time import PostgresPointInTime
from ikoma.postgres.server.external import ExternalPostgres
from tests.contract.conftest import settings_of
from tests.contract.postgres.archived import Do, World, archived
from tests.support import eventually


@pytest.fixture(scope="module")
def world(do: Do) -> Iterator[World]:
    with archived(do) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(world: World) -> Iterator[None]:
    yield
    assert list((world.folder / "postgres" / "recovered").glob("*")) == []


def test_each_moment_is_as_it_was(world: World) -> None:
    world.run("CREATE TABLE t AS SELECT generate_series(1, 500) AS n")
    first = world.note()
    world.run("DELETE FROM t WHERE n > 100")
    second = world.note()
    world.run("DROP TABLE t")
    assert world.go_back(first) == {"t": 500}
    assert world.go_back(second) == {"t": 100}
    window = world.wait_for(lambda window: window.problem is None and window.lag_bytes == 0)
    assert window.since is not None
    assert parse_moment(window.since) < parse_moment(first)
    assert world.go_back(world.note()) == {}


def test_what_is_taken_out_is_a_backup_that_restores(world: World, tmp_path: Path) -> None:
    world.run("CREATE TABLE kept AS SELECT generate_series(1, 7) AS n")
    moment = world.note()
    world.run("DROP TABLE kept")

    async def take_out() -> None:
        async with world.point_in_time.recover(world.owned, moment, lambda *_: None) as found:
            dump = await found.dump(tmp_path / "then.sql", lambda *_: None)
        assert dump.tables == {"kept": 7}
        await world.databases.restore(world.owned, dump.path, progress=lambda *_: None)

    world.do(take_out())
    assert world.do(world.databases.count_rows(world.owned)) == {"kept": 7}
    world.run("DROP TABLE kept")


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2020-01-01T00:00:00Z", "before all that is archived"),
        ("2199-01-01T00:00:00+02:00", "still to come"),
        ("0001-01-01T00:00:00Z", "before all that is archived"),
    ],
)
def test_a_time_outside_is_refused_with_the_window(world: World, moment: str, said: str) -> None:
    with pytest.raises(TimeOutsideWindow, match=said) as caught:
        world.go_back(moment)
    assert "Give a time from 20" in (caught.value.hint or "")


def test_an_app_that_had_no_database_then_is_told(world: World) -> None:
    moment = world.note()
    late = Credentials("late", "late", Secret("y" * 20))
    world.do(world.databases.create(AppName("late"), late.password))
    with pytest.raises(DatabaseMissing, match="no database at"):
        world.go_back(moment, late)
    world.do(world.databases.drop(AppName("late")))


def test_a_hole_and_a_segment_that_is_cut_are_refused_and_nothing_else_is(world: World) -> None:
    before = world.note()
    world.run("SELECT 1")
    with psycopg.connect(**world.server.make_admin_login(), autocommit=True) as session:
        for _ in range(3):
            session.execute("SELECT pg_current_xact_id()")
            session.execute("SELECT pg_switch_wal()")
    after = world.note()
    world.go_back(after)
    names = sorted(name for name, whole in world.chain.list_segments().items() if whole)
    segment = world.chain.wal / names[-2]
    aside = world.folder / "aside"
    segment.rename(aside)
    with pytest.raises(ArchiveBroken, match=f"hole: segment {names[-2]}"):
        world.go_back(after)
    segment.write_bytes(aside.read_bytes()[:1000])
    with pytest.raises(ArchiveBroken, match=f"damaged: segment {names[-2]}"):
        world.go_back(before)
    segment.unlink()
    aside.rename(segment)
    world.go_back(after)


def test_an_external_server_is_archived_in_the_same_way(world: World) -> None:
    world.run("CREATE TABLE external AS SELECT generate_series(1, 3) AS n")
    moment = world.note()
    world.run("DROP TABLE external")
    admin = world.server.make_admin_login()
    given = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(admin["port"]), "POSTGRES_PASSWORD": admin["password"]}
    outside = ExternalPostgres(settings_of(world.folder, **given))
    elsewhere = world.folder / "elsewhere"

    async def count() -> Any:
        archive = Archive(outside, world.folder / "backups", 7)
        async with PostgresPointInTime(outside, archive, elsewhere).recover(
            world.owned, moment, lambda *_: None
        ) as then:
            return await then.count_rows(world.owned, timeout=60)

    assert world.do(count())["external"] == 3


def test_an_archive_that_nobody_writes_is_told_and_ends_where_it_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_in_time, "_FOLLOWS_SECONDS", 0.5)
    world.run("CREATE TABLE dead AS SELECT generate_series(1, 5) AS n")
    inside = world.note()
    world.run("DROP TABLE dead")
    world.wait_for(lambda window: window.lag_bytes == 0)
    world.end()
    assert world.wait_for(lambda window: window.lag_bytes is None).problem == "nobody writes the archive"
    world.run("CREATE TABLE later (n int)")
    world.do(asyncio.sleep(1))
    outside = world.note()
    assert world.go_back(inside)["dead"] == 5
    with pytest.raises(TimeOutsideWindow, match="ends before"):
        world.go_back(outside)
    world.begin()
    assert world.wait_for(lambda window: window.lag_bytes == 0 and window.problem is None).since
    assert "later" in world.go_back(outside), "the server has kept it for the archive"
    world.run("DROP TABLE later")


def test_a_server_that_keeps_the_log_without_a_bound_is_not_archived(world: World) -> None:
    world.end()
    with psycopg.connect(**world.server.make_admin_login(), autocommit=True) as session:
        session.execute("ALTER SYSTEM SET max_slot_wal_keep_size = -1")
        session.execute("SELECT pg_reload_conf()")
        try:
            world.begin()
            window = world.wait_for(lambda window: "max_slot_wal_keep_size" in (window.problem or ""))
            assert window.lag_bytes is None
        finally:
            session.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            session.execute("SELECT pg_reload_conf()")
    world.wait_for(lambda window: window.problem is None)
    with psycopg.connect(**world.server.make_admin_login(), autocommit=True) as session:
        assert session.execute("SHOW max_slot_wal_keep_size").fetchone() == ("2GB",)


def test_what_nobody_archives_is_given_up_at_the_bound_and_a_new_window_begins(world: World) -> None:
    former = world.chain.folder
    world.end()
    with psycopg.connect(**world.server.make_admin_login(), autocommit=True) as session:
        session.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
        session.execute("SELECT pg_reload_conf()")
        for _ in range(8):
            session.execute("SELECT pg_current_xact_id()")
            session.execute("SELECT pg_switch_wal()")

        def is_lost() -> bool:
            session.execute("CHECKPOINT")
            return session.execute("SELECT wal_status FROM pg_replication_slots").fetchall() == [("lost",)]

        eventually(is_lost, "the disk does not fill")  # once it is summarized
        lost = world.note()
        session.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        session.execute("SELECT pg_reload_conf()")
    world.begin()
    world.wait_for(lambda _: world.chain.folder != former and world.chain.list_bases() != [])
    world.wait_for(lambda window: window.problem is None)
    assert world.go_back(world.note()) is not None
    with pytest.raises(TimeOutsideWindow, match="ends before"):
        world.go_back(lost)


def test_a_log_that_cannot_go_on_begins_again_with_a_base_backup(world: World) -> None:
    """Where the timeline changed: before and after it is open, between is refused."""
    world.run("CREATE TABLE epoch AS SELECT generate_series(1, 2) AS n")
    before = world.note()
    world.run("INSERT INTO epoch VALUES (3)")
    world.wait_for(lambda window: window.lag_bytes == 0)
    former = world.chain.folder
    world.end()
    world.do(drop_slot(world.server))
    world.do(world.server.stop())
    data = world.folder / "postgres" / "data"
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\nhot_standby = off\n")
    (data / "recovery.signal").touch()
    world.do(asyncio.sleep(1))
    between = world.note()
    world.do(world.server.start())
    with psycopg.connect(**world.server.make_admin_login()) as session:
        row = session.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
    assert row is not None
    assert row[0].startswith("00000002"), "the timeline is another"
    with pytest.raises(ArchiveBroken, match="timeline is another"):
        world.go_back(before)
    world.begin()
    world.wait_for(lambda _: world.chain.folder != former and world.chain.list_bases() != [])
    after = world.note()
    assert world.go_back(before)["epoch"] == 2
    assert world.go_back(after)["epoch"] == 3
    with pytest.raises(TimeOutsideWindow, match="ends before"):
        world.go_back(between)


def test_who_looks_after_it_is_one(world: World) -> None:
    other = Archive(world.server, world.folder / "backups", 7)

    async def try_it() -> None:
        work = asyncio.ensure_future(other.receive())
        await asyncio.wait([work], timeout=2)
        assert not work.done()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    known = len(world.archive.list_chains())
    world.do(try_it())
    assert len(world.archive.list_chains()) == known
