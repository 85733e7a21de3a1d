"""Incremental base backups of a real server: what is recovered is combined, and a link that is missing is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ikoma.errors import ArchiveBroken
from ikoma.moments import EntryTime
from ikoma.postgres.archive import archive as looking_after
from ikoma.postgres.archive import chain as chains
from ikoma.postgres.archive.archive import drop_slot
from ikoma.postgres.archive.chain import BaseBackup
from tests.contract.postgres.archived import Do, World, archived


@pytest.fixture(scope="module")
def world(do: Do) -> Iterator[World]:
    """A server with a full base backup, two incremental ones after it, and a moment that needs all three."""
    with pytest.MonkeyPatch.context() as patched, archived(do) as made:
        patched.setattr(looking_after, "_CALM_SECONDS", 0.2)
        made.run("CREATE TABLE t AS SELECT generate_series(1, 50000) AS n")
        for number in range(2):
            make_next(made)
            made.run(f"INSERT INTO t VALUES (-{number})")
        yield made


@pytest.fixture(scope="module")
def moment(world: World) -> EntryTime:
    noted = world.note()
    world.run("TRUNCATE t")
    assert world.go_back(noted) == {"t": 50002}
    return noted


def make_next(world: World) -> BaseBackup:
    """Let the next base backup be due, and be made."""
    known = len(world.chain.list_bases())
    world.age(world.chain.list_bases()[-1])
    world.wait_for(lambda _: len(world.chain.list_bases()) > known)
    return world.chain.list_bases()[-1]


def list_folders(world: World) -> list[Path]:
    return [world.chain.bases / base.name for base in world.chain.list_bases()]


def test_each_is_built_on_the_one_before_and_holds_what_has_changed(world: World, moment: EntryTime) -> None:
    full, first, second = world.chain.list_bases()[:3]
    assert (full.parent, first.parent, second.parent) == (None, full.name, first.name)
    assert max(first.size, second.size) < full.size / 2
    world.go_back(moment)


def test_where_one_is_missing_the_log_leads_on_from_an_earlier_one(world: World, moment: EntryTime) -> None:
    first, aside = list_folders(world)[1], world.folder / "aside"
    world.end()
    first.rename(aside)
    try:
        assert world.go_back(moment) == {"t": 50002}
    finally:
        aside.rename(first)
        world.begin()


def test_where_the_full_one_is_missing_it_is_told_which(world: World, moment: EntryTime) -> None:
    full, aside = list_folders(world)[0], world.folder / "aside"
    world.end()
    full.rename(aside)
    try:
        with pytest.raises(ArchiveBroken, match=f"builds on {full.name}, which is missing") as caught:
            world.go_back(moment)
        assert "restore a backup" in (caught.value.hint or "")
    finally:
        aside.rename(full)
        world.begin()
    world.go_back(moment)


def test_one_that_was_changed_is_told_and_never_recovered_from(world: World, moment: EntryTime) -> None:
    full = list_folders(world)[0]
    victim = next(path for path in (full / "data" / "base").rglob("*") if path.is_file() and path.stat().st_size > 8000)
    kept = victim.read_bytes()
    victim.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    try:
        with pytest.raises(ArchiveBroken, match=f"base backup {full.name} is damaged: .*{victim.name}"):
            world.go_back(moment)
    finally:
        victim.write_bytes(kept)
    world.go_back(moment)


def test_after_one_that_is_broken_the_next_is_full_and_at_once(world: World) -> None:
    folders = list_folders(world)
    shutil.rmtree(folders[-1] / "data")
    world.wait_for(lambda _: len(world.chain.list_bases()) > len(folders))
    assert world.chain.list_bases()[-1].parent is None
    shutil.rmtree(folders[-1])
    assert world.wait_for(lambda window: window.problem is None).since


def test_so_many_are_combined_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MOST_LINKS", 2)
    parents = [make_next(world).parent for _ in range(2)]
    assert [parent is None for parent in parents] == [False, True]


def test_a_server_that_keeps_no_summaries_gets_full_ones(world: World) -> None:
    with psycopg.connect(**world.server.make_admin_login(), autocommit=True) as session:
        session.execute("ALTER SYSTEM SET summarize_wal = off")
        session.execute("SELECT pg_reload_conf()")
        assert make_next(world).parent is None
        session.execute("ALTER SYSTEM SET summarize_wal = on")
        session.execute("SELECT pg_reload_conf()")


def test_without_an_archive_the_server_writes_no_summaries(world: World) -> None:
    world.end()
    world.do(drop_slot(world.server))
    with psycopg.connect(**world.server.make_admin_login()) as session:
        assert session.execute("SHOW summarize_wal").fetchone() == ("off",)
        assert session.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    world.begin()
    world.wait_for(lambda window: window.problem is None)
