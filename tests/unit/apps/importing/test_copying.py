"""A folder is copied as it is, and later by what has changed since."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from ikoma.apps.importing import mirroring
from ikoma.apps.importing.copying import copy_folder, measure
from ikoma.apps.importing.mirroring import mirror


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with all kinds of things in it."""
    folder = tmp_path / "old" / "data"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "rows").write_bytes(os.urandom(70_000))
    (folder / "empty").touch()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "deep" / "again").hardlink_to(folder / "deep" / "er" / "rows")
    (folder / os.fsdecode(b"no text \xff")).write_text("odd")
    (folder / "deep").chmod(0o2750)
    (folder / "empty").chmod(0o604)
    if os.geteuid() == 0:
        os.chown(folder / "empty", 1234, 2345)
        os.chown(folder / "link", 1234, 2345, follow_symlinks=False)
    os.utime(folder / "deep" / "er" / "rows", ns=(1_000_000_001, 1_500_000_000_000_000_001))
    os.utime(folder / "deep", ns=(1, 1_400_000_000_000_000_001))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "new" / "data"
    folder.mkdir(parents=True)
    return folder


def describe(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is to be alike."""
    found = {}
    for path in sorted(folder.rglob("*")):
        seen = path.lstat()
        told: tuple[object, ...] = (stat.filemode(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_nlink)
        if path.is_symlink():
            told += (os.readlink(path),)
        elif path.is_file():
            told += (path.read_bytes(), seen.st_mtime_ns)
        else:
            told += (seen.st_mtime_ns,)
        found[str(path.relative_to(folder))] = told
    return found


def test_a_copy_has_all_with_owners_modes_times_and_links(source: Path, target: Path) -> None:
    assert copy_folder(source, target) == []
    assert describe(target) == describe(source)
    assert measure(target) >= 140_000


def test_what_is_left_out_is_not_there_and_what_cannot_be_copied_is_told(source: Path, target: Path) -> None:
    os.mkfifo(source / "deep" / "pipe")
    assert copy_folder(source, target, without=["deep/er", "empty"]) == ["deep/pipe"]
    assert sorted(path.name for path in target.rglob("*")) == sorted(
        ["deep", "again", "link", os.fsdecode(b"no text \xff")]
    )


def test_nothing_is_read_or_written_through_a_link(tmp_path: Path, source: Path, target: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("of somebody else")
    (source / "way").symlink_to(tmp_path / "secret")
    copy_folder(source, target)
    assert (target / "way").is_symlink()
    (source / "way").unlink()
    (source / "way").mkdir()
    (source / "way" / "mine").write_text("written")
    mirror(source, target)
    assert not (target / "way").is_symlink()
    assert (target / "way" / "mine").read_text() == "written"
    assert [path.name for path in (tmp_path / "secret").iterdir()] == ["key"]
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        copy_folder(tmp_path / "old" / "data" / "link", target)


def test_a_mirror_follows_every_kind_of_change(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "_GRAIN", 0)
    time.sleep(0.02)  # the kernel's clock goes in steps
    first = mirror(source, target)
    assert describe(target) == describe(source)
    assert first.copied > 70_000
    time.sleep(0.02)
    (source / "deep" / "er" / "rows").write_bytes(b"changed")  # with its other name
    (source / "more").write_text("new")
    (source / "empty").unlink()
    (source / "empty").mkdir()
    (source / "link").unlink()
    (source / "deep").chmod(0o700)
    second = mirror(source, target, first)
    assert describe(target) == describe(source)
    assert second.copied == len(b"changed") + len(b"new")


def test_a_mirror_undoes_what_the_other_side_did(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "_GRAIN", 0)
    time.sleep(0.02)
    first = mirror(source, target)
    time.sleep(0.02)
    before = (target / "deep" / "er" / "rows").stat()
    (target / "deep" / "er" / "rows").write_bytes(bytes(70_000))  # as large, and as old as it says
    os.utime(target / "deep" / "er" / "rows", ns=(before.st_atime_ns, before.st_mtime_ns))
    (target / "empty").write_text("no longer")
    (target / "started").mkdir()
    (target / "started" / "now").touch()
    (target / "link").unlink()
    mirror(source, target, first)
    assert describe(target) == describe(source)


def test_what_nobody_touched_is_not_copied_again(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "_GRAIN", 0)
    time.sleep(0.02)
    first = mirror(source, target)
    kept = (target / "deep" / "er" / "rows").stat().st_ino
    assert mirror(source, target, first).copied == 0
    assert (target / "deep" / "er" / "rows").stat().st_ino == kept


def test_what_was_written_shortly_before_the_first_time_is_copied_again(source: Path, target: Path) -> None:
    first = mirror(source, target)
    assert mirror(source, target, first).copied == first.copied


def test_a_file_alone_is_mirrored_and_goes_when_the_other_is_gone(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    file, copy = tmp_path / "old" / "rows.db", tmp_path / "new" / "deep" / "rows.db"
    file.write_text("rows")
    mirror(file, copy)
    assert copy.read_text() == "rows"
    file.unlink()
    mirror(file, copy)
    assert not copy.exists()
