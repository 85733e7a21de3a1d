"""The archive on disk: names of segments, what is whole, what goes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from ikoma.errors import ArchiveBroken
from ikoma.moments import format_moment
from ikoma.postgres.archive.chain import MOST_LINKS, BaseBackup, Chain, ServerIdentity, list_chains, remove_aside, sweep
from ikoma.postgres.archive.segments import find_hole, list_names, locate, name_segment, read_number, read_timeline

SIZE = 16 << 20
SMALL = 1 << 20
NOW = datetime.now(UTC)


def test_segments_are_counted_over_the_end_of_a_log() -> None:
    assert name_segment(1, 255, SIZE) == "0000000100000000000000FF"
    assert name_segment(1, 256, SIZE) == "000000010000000100000000"
    assert read_number("000000030000000100000002", SIZE) == 258
    assert read_timeline("0000000A0000000100000002") == 10
    assert locate("1/2000028", SIZE) == 258
    assert name_segment(1, 4096, SMALL) == "000000010000000100000000"
    assert list_names(2, 255, 257, SIZE) == [name_segment(2, number, SIZE) for number in (255, 256, 257)]


def test_the_first_hole_is_found() -> None:
    names = list_names(1, 1, 4, SIZE)
    assert find_hole(names, names) is None
    assert find_hole(names, [names[0], names[1], names[3]]) == names[2]
    assert find_hole(names, list_names(2, 1, 4, SIZE)) == names[0]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain.begin(tmp_path, ServerIdentity("7", 1, SMALL, 18))


def add_segments(chain: Chain, first: int, last: int) -> None:
    for name in list_names(1, first, last, SMALL):
        with (chain.wal / name).open("wb") as file:
            file.truncate(SMALL)


def add_base(chain: Chain, segment: int, age: timedelta, parent: str | None = None) -> str:
    moment = format_moment(NOW - age, "microseconds")
    folder = chain.bases / moment.replace(":", "")
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "backup_manifest").touch()
    start = f"0/{segment * SMALL + 40:X}"
    record = {"name": folder.name, "began": moment, "finished": moment, "start": start, "end": start, "size": 1}
    record |= {"parent": parent} if parent else {}
    (folder / "base.json").write_bytes(orjson.dumps(record))
    return folder.name


def test_a_base_backup_reaches_on_as_far_as_no_segment_is_missing(chain: Chain) -> None:
    add_base(chain, 3, timedelta(0))
    base = chain.list_bases()[0]
    assert not chain.reaches_on(base, list(chain.list_segments()))
    add_segments(chain, 3, 6)
    assert chain.reaches_on(base, list(chain.list_segments()))
    (chain.wal / name_segment(1, 4, SMALL)).unlink()
    assert not chain.reaches_on(base, list(chain.list_segments()))


def test_what_is_still_written_or_cut_off_is_not_complete(chain: Chain) -> None:
    add_segments(chain, 1, 2)
    (chain.wal / f"{name_segment(1, 3, SMALL)}.partial").touch()
    os.truncate(chain.wal / name_segment(1, 2, SMALL), 7)
    assert list(chain.list_segments().values()).count(True) == 1
    assert chain.list_segments()[name_segment(1, 3, SMALL)] is False


def test_only_a_segment_that_pg_receivewal_could_not_go_on_with_goes(chain: Chain) -> None:
    usable, cut = (chain.wal / f"{name_segment(1, number, SMALL)}.partial" for number in (1, 2))
    usable.touch()
    os.truncate(usable, SMALL)
    cut.write_bytes(b"x")
    chain.drop_unusable()
    assert (usable.exists(), cut.exists()) == (True, False)


def test_the_window_keeps_the_base_backup_before_it_and_the_log_from_there(chain: Chain) -> None:
    names = [add_base(chain, segment, timedelta(days=age)) for segment, age in ((2, 9), (4, 8), (6, 6), (8, 1))]
    add_segments(chain, 1, 9)
    chain.prune(7, is_last=True)
    assert [base.name for base in chain.list_bases()] == names[1:]
    assert min(chain.list_segments()) == name_segment(1, 4, SMALL)
    assert chain.reaches_on(chain.list_bases()[0], list(chain.list_segments()))
    chain.prune(7, is_last=True)
    assert [base.name for base in chain.list_bases()] == names[1:]


def add_incrementals(chain: Chain, *ages: int) -> list[str]:
    """A full base backup and incremental ones, each built on the one before; ages in days."""
    names: list[str] = []
    for number, age in enumerate(ages):
        names.append(add_base(chain, 2 * number + 2, timedelta(days=age), names[-1] if names else None))
    return names


def list_names_of(bases: list[BaseBackup]) -> list[str]:
    return [base.name for base in bases]


def test_an_incremental_one_takes_all_that_it_builds_on(chain: Chain) -> None:
    names = add_incrementals(chain, 3, 2, 1)
    bases = chain.list_bases()
    assert [list_names_of(chain.list_links(base, bases)) for base in bases] == [names[:1], names[:2], names]
    assert chain.find_parent() == bases[-1]
    (chain.bases / names[1] / "data" / "backup_manifest").unlink()
    with pytest.raises(ArchiveBroken, match=f"{names[1]} is not whole"):
        chain.list_links(bases[2], bases)
    remove_aside(chain.bases / names[1])
    with pytest.raises(ArchiveBroken, match=f"{names[2]} builds on {names[1]}, which is missing"):
        chain.list_links(bases[2], chain.list_bases())
    assert chain.find_parent() is None, "the next one is full"


def test_a_record_that_leads_round_in_a_circle_is_broken(chain: Chain) -> None:
    names = [add_base(chain, 1, timedelta(days=age)) for age in (2, 1)]
    record = chain.bases / names[0] / "base.json"
    record.write_bytes(orjson.dumps(orjson.loads(record.read_bytes()) | {"parent": names[1]}))
    bases = chain.list_bases()
    with pytest.raises(ArchiveBroken):
        chain.list_links(bases[0], bases)


def test_so_many_are_built_on_one_full_one(chain: Chain) -> None:
    add_incrementals(chain, *range(MOST_LINKS - 1, 0, -1))
    assert chain.find_parent() is not None
    add_base(chain, 20, timedelta(0), chain.list_bases()[-1].name)
    assert chain.find_parent() is None


def test_a_full_one_stays_as_long_as_one_that_is_kept_builds_on_it(chain: Chain) -> None:
    former = add_incrementals(chain, 12, 11)
    names = [add_base(chain, 4, timedelta(days=10))]
    for segment, age in ((5, 9), (6, 8), (7, 6)):
        names.append(add_base(chain, segment, timedelta(days=age), names[-1]))
    add_segments(chain, 1, 9)
    chain.prune(7, is_last=True)
    assert list_names_of(chain.list_bases()) == names
    assert not any((chain.bases / name).exists() for name in former)
    assert min(chain.list_segments()) == name_segment(1, 6, SMALL), "of the log only what the window needs"


def test_one_that_is_broken_is_not_what_the_window_begins_with(chain: Chain) -> None:
    names = add_incrementals(chain, 9, 8, 6)
    (chain.bases / names[1] / "data" / "backup_manifest").unlink()
    add_segments(chain, 1, 9)
    chain.prune(7, is_last=True)
    assert list_names_of(chain.list_bases()) == [names[0], names[2]]
    assert min(chain.list_segments()) == name_segment(1, 2, SMALL)


def test_a_chain_that_has_ended_goes_when_its_end_is_outside(chain: Chain, tmp_path: Path) -> None:
    add_base(chain, 1, timedelta(days=9))
    add_segments(chain, 1, 2)
    chain.prune(7, is_last=False)
    assert chain.list_bases()
    for path in chain.wal.iterdir():
        os.utime(path, (0, (NOW - timedelta(days=8)).timestamp()))
    chain.prune(7, is_last=False)
    assert list_chains(tmp_path) == []


def test_what_was_half_made_or_half_removed_is_swept_and_the_rest_stays(chain: Chain, tmp_path: Path) -> None:
    name = add_base(chain, 1, timedelta(0))
    (chain.bases / ".half" / "data").mkdir(parents=True)
    (tmp_path / ".chain").mkdir()
    gone = add_base(chain, 2, timedelta(1))
    remove_aside(chain.bases / gone)
    sweep(tmp_path)
    assert [path.name for path in chain.bases.iterdir()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == [chain.folder.name]


def test_a_record_that_cannot_be_read_is_no_base_backup_and_no_chain(chain: Chain, tmp_path: Path) -> None:
    name = add_base(chain, 1, timedelta(0))
    (chain.bases / name / "base.json").write_text("{")
    assert chain.list_bases() == []
    (chain.folder / "chain.json").write_text("{")
    with pytest.raises(ArchiveBroken):
        list_chains(tmp_path)
