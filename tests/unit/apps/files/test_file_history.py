"""Files that are overwritten or deleted are kept, and come back byte for byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.files import file_history, files
from ikoma.errors import FileChanged, NotAFile, TextNotFound, VersionNotFound
from ikoma.model import AppName, FilePath

INDEX = FilePath("src/index.js")


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "shop" / "src").mkdir(parents=True)
    return App(AppName("shop"), tmp_path / "shop")


def put(app: App, content: bytes, path: FilePath = INDEX) -> None:
    files.write(app, path, content, expected=None, executable=None)


def test_an_overwritten_file_comes_back_with_its_bytes_and_permissions(app: App) -> None:
    put(app, b"first \xff")
    (app.path / INDEX).chmod(0o755)
    put(app, b"second")
    (kept,) = file_history.list_versions(app, INDEX)
    assert (kept.kind, kept.happened, kept.size) == ("file", "overwritten", 7)
    files.restore(app, INDEX, kept.version)
    assert (app.path / INDEX).read_bytes() == b"first \xff"
    assert (app.path / INDEX).stat().st_mode & 0o777 == 0o755
    files.restore(app, INDEX, None)
    assert (app.path / INDEX).read_bytes() == b"second", "what stood there was kept in its stead"


def test_the_same_content_again_keeps_nothing(app: App) -> None:
    for _ in range(3):
        put(app, b"same")
    assert file_history.list_versions(app, None) == []


def test_a_deleted_folder_comes_back_whole_and_what_took_its_place_is_kept(app: App) -> None:
    put(app, b"one", FilePath("src/deep/one.js"))
    (app.path / "src" / "deep" / "link").symlink_to("one.js")
    files.delete(app, FilePath("src/deep"), recursive=True)
    assert not (app.path / "src" / "deep").exists()
    put(app, b"two", FilePath("src/deep/two.js"))
    files.restore(app, FilePath("src/deep"), None)
    assert (app.path / "src" / "deep" / "link").read_text() == "one"
    assert not (app.path / "src" / "deep" / "two.js").exists()
    files.restore(app, FilePath("src/deep"), None)
    assert os.listdir(app.path / "src" / "deep") == ["two.js"]


def test_a_file_comes_back_though_its_folder_is_gone(app: App) -> None:
    put(app, b"one", FilePath("src/deep/one.js"))
    files.delete(app, FilePath("src/deep/one.js"), recursive=False)
    files.delete(app, FilePath("src/deep"), recursive=False)
    files.restore(app, FilePath("src/deep/one.js"), None)
    assert (app.path / "src" / "deep" / "one.js").read_bytes() == b"one"


def test_a_deleted_link_comes_back_as_a_link(app: App) -> None:
    (app.path / "src" / "link").symlink_to("/etc/passwd")
    files.delete(app, FilePath("src/link"), recursive=False)
    assert file_history.list_versions(app, None)[0].kind == "link"
    files.restore(app, FilePath("src/link"), None)
    assert os.readlink(app.path / "src" / "link") == "/etc/passwd"


def test_versions_of_other_paths_are_not_taken(app: App) -> None:
    put(app, b"one")
    put(app, b"two")
    (kept,) = file_history.list_versions(app, None)
    for path, version in (("src/other.js", kept.version), ("src/index.js", "../../x"), ("src/index.js", "nonsense")):
        with pytest.raises(VersionNotFound):
            files.restore(app, FilePath(path), version)
    assert (app.path / INDEX).read_bytes() == b"two"


def test_an_entry_that_a_kill_left_without_content_is_no_version_and_goes(app: App) -> None:
    put(app, b"one")
    put(app, b"two")
    (kept,) = file_history.list_versions(app, None)
    (app.state / "history" / kept.version / "kept").unlink()
    assert file_history.list_versions(app, None) == []
    with pytest.raises(VersionNotFound):
        files.restore(app, INDEX, None)
    put(app, b"three")
    assert [item.size for item in file_history.list_versions(app, None)] == [3]
    assert len(list((app.state / "history").iterdir())) == 1


def test_versions_go_after_thirty_days_and_not_before(app: App) -> None:
    put(app, b"one")
    put(app, b"two")
    assert file_history.prune(app, now=datetime.now(UTC) + timedelta(days=29)) == 0
    assert file_history.prune(app, now=datetime.now(UTC) + timedelta(days=31)) == 1
    assert file_history.list_versions(app, None) == []


def test_what_is_too_old_is_not_brought_back_and_what_stands_there_stays(app: App) -> None:
    put(app, b"old", FilePath("src/box/a"))
    files.delete(app, box := FilePath("src/box"), recursive=True)
    put(app, b"new", FilePath("src/box/a"))
    (kept,) = file_history.list_versions(app, box)
    old = kept.version.replace(kept.version.split("-")[0], "20200101T000000000000Z")
    history = app.state / "history"
    (history / kept.version).rename(history / old)
    entry = history / old / "entry.json"
    entry.write_text(entry.read_text().replace(kept.version, old))
    with pytest.raises(VersionNotFound):
        files.restore(app, box, None)
    assert (app.source / "box" / "a").read_bytes() == b"new"


def test_one_path_has_a_hundred_versions_at_most_and_leaves_others_alone(app: App) -> None:
    put(app, b"other", FilePath("src/other.js"))
    files.delete(app, FilePath("src/other.js"), recursive=False)
    for number in range(105):
        put(app, str(number).encode())
    file_history.prune(app)
    assert len(file_history.list_versions(app, INDEX)) == 100
    assert len(file_history.list_versions(app, FilePath("src/other.js"))) == 1


def test_one_text_is_replaced_and_only_where_it_stands_once(app: App) -> None:
    put(app, b"a = 1\r\nb = 1\r\n")
    edited = files.edit(app, INDEX, "a = 1", "a = 2", expected=None)
    assert (app.path / INDEX).read_bytes() == b"a = 2\r\nb = 1\r\n"
    for old in ("= 3", "\r\n"):
        with pytest.raises(TextNotFound):
            files.edit(app, INDEX, old, "x", expected=None)
    with pytest.raises(FileChanged):
        files.edit(app, INDEX, "b = 1", "b = 2", expected="0" * 64)
    files.edit(app, INDEX, "b = 1", "b = 2", expected=edited.sha256)
    files.restore(app, INDEX, None)
    assert (app.path / INDEX).read_bytes() == b"a = 2\r\nb = 1\r\n"


@pytest.fixture
def disk(app: App) -> Iterator[Path]:
    """A folder of the app on a filesystem of its own."""
    place = app.path / "data"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_lies_on_another_disk_is_deleted_and_comes_back_too(app: App, disk: Path) -> None:
    put(app, b"one", note := FilePath("data/note"))
    files.delete(app, note, recursive=False)
    assert not list(disk.iterdir())
    files.restore(app, note, None)
    assert (disk / "note").read_bytes() == b"one"

    put(app, b"two", FilePath("data/box/deep/file"))
    (disk / "box" / "link").symlink_to("/etc")
    (disk / "box" / "deep").chmod(0o751)
    os.chown(disk / "box" / "deep" / "file", 1234, 1235)
    files.delete(app, box := FilePath("data/box"), recursive=True)
    assert [entry.name for entry in disk.iterdir()] == ["note"]
    files.restore(app, box, None)
    assert (disk / "box" / "deep" / "file").read_bytes() == b"two"
    assert os.readlink(disk / "box" / "link") == "/etc"
    assert (disk / "box" / "deep").stat().st_mode & 0o777 == 0o751
    assert (disk / "box" / "deep" / "file").stat().st_uid == 1234
    assert sorted(entry.name for entry in disk.iterdir()) == ["box", "note"]
    assert file_history.list_versions(app, None) == []


def test_a_mounted_disk_itself_is_not_deleted(app: App, disk: Path) -> None:
    put(app, b"one", FilePath("data/note"))
    with pytest.raises(NotAFile, match="another disk is mounted"):
        files.delete(app, FilePath("data"), recursive=True)
    assert (disk / "note").read_bytes() == b"one"
