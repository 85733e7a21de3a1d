"""Files of an app from outside: nothing that a path or a link says leads out of its folder."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.app_folder import App
from ikoma.apps.files import file_history, files
from ikoma.errors import FileChanged, FileMissing, IkomaError, NotAFile, PathOutside
from ikoma.model import AppName, FilePath


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "shop" / "src").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return App(AppName("shop"), tmp_path / "shop")


def put(app: App, path: str, content: bytes = b"x", **more: object) -> files.FilePart:
    return files.write(app, FilePath.parse(path), content, **{"expected": None, "executable": None, **more})


def get(app: App, path: str, offset: int = 0, limit: int = 1000) -> files.FilePart:
    return files.read(app, FilePath.parse(path), offset=offset, limit=limit)


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "/etc/passwd", "a//b", "a/", "/a", "../x", "a/../../b", "a/./b", "a\0b", "a\nb", "x" * 1001),
        *("y" * 256, ".ikoma", ".ikoma/database.json", ".env", "src/.ikoma-writing-1", "\ud800", "a/\x1b[31m"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        FilePath.parse(path)


@given(st.text())
def test_a_path_that_is_taken_stays_inside(text: str) -> None:
    try:
        path = FilePath.parse(text)
    except ValueError:
        return
    assert not os.path.isabs(path)
    assert os.path.normpath(path) == path
    assert not path.startswith("..")


def test_what_is_written_is_read_back_and_listed(app: App) -> None:
    written = put(app, "src/deep/er/index.js", b"hello \xff")
    assert get(app, "src/deep/er/index.js") == files.FilePart(b"hello \xff", 7, written.sha256)
    assert get(app, "src/deep/er/index.js", 6, 1).content == b"\xff"
    found, truncated = files.list_entries(app, None, recursive=True)
    assert [(entry.path, entry.kind) for entry in found] == [
        ("src", "folder"),
        ("src/deep", "folder"),
        ("src/deep/er", "folder"),
        ("src/deep/er/index.js", "file"),
    ]
    assert not truncated
    assert [entry.path for entry in files.list_entries(app, FilePath("src"), recursive=False)[0]] == ["src/deep"]


def test_replacing_keeps_permissions_and_other_names_of_the_file(app: App) -> None:
    file = app.path / "src" / "run.sh"
    file.write_text("old")
    file.chmod(0o4750)
    os.link(file, app.path / "src" / "other-name")
    put(app, "src/run.sh", b"new")
    assert (file.stat().st_mode & 0o7777, file.read_text()) == (0o750, "new")
    assert (app.path / "src" / "other-name").read_text() == "old"
    put(app, "src/run.sh", b"new", executable=False)
    assert file.stat().st_mode & 0o111 == 0
    put(app, "src/new.sh", executable=True)
    assert (app.path / "src" / "new.sh").stat().st_mode & 0o777 == 0o755


def test_links_are_shown_and_never_followed(app: App) -> None:
    outside = app.path.parent / "outside"
    (app.path / "src" / "file").symlink_to(outside / "secret")
    (app.path / "src" / "folder").symlink_to(outside)
    (app.path / "src" / "dangling").symlink_to(app.path / "nowhere")
    for path in ("src/file", "src/folder/secret", "src/dangling", "src/folder"):
        with pytest.raises((PathOutside, NotAFile)):
            get(app, path)
    for path in ("src/file", "src/folder/new", "src/dangling"):
        with pytest.raises(PathOutside):
            put(app, path)
    assert (outside / "secret").read_text() == "secret"
    assert os.listdir(outside) == ["secret"]
    kinds = {entry.path: entry.kind for entry in files.list_entries(app, None, recursive=True)[0]}
    assert kinds["src/file"] == kinds["src/folder"] == "link"
    files.delete(app, FilePath("src/folder"), recursive=True)
    assert (outside / "secret").exists()


def test_what_is_no_file_is_neither_read_nor_replaced(app: App) -> None:
    os.mkfifo(app.path / "src" / "pipe")
    for path in ("src", "src/pipe"):
        with pytest.raises(NotAFile):
            get(app, path)
        with pytest.raises(NotAFile):
            put(app, path)
    put(app, "src/file")
    with pytest.raises(NotAFile):
        put(app, "src/file/below")
    with pytest.raises(FileMissing):
        get(app, "src/nothing")


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(app: App) -> None:
    first = put(app, "src/a", b"1")
    put(app, "src/a", b"2", expected=first.sha256)
    with pytest.raises(FileChanged):
        put(app, "src/a", b"3", expected=first.sha256)
    with pytest.raises(FileChanged):
        put(app, "src/none", b"3", expected=first.sha256)
    assert (app.path / "src" / "a").read_bytes() == b"2"


def test_deleting_takes_a_file_or_a_whole_folder(app: App) -> None:
    put(app, "src/a/b", b"12")
    with pytest.raises(NotAFile, match="not empty"):
        files.delete(app, FilePath("src"), recursive=False)
    gone = files.delete(app, FilePath("src/a/b"), recursive=False)
    assert gone is not None
    assert gone.size == 2
    files.delete(app, FilePath("src"), recursive=True)
    assert not (app.path / "src").exists()
    assert os.listdir(app.state) == ["history"]
    with pytest.raises(FileMissing):
        files.delete(app, FilePath("src"), recursive=True)


def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere(app: App) -> None:
    outside, inside = app.path.parent / "outside", app.path / "src" / "swap"
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            inside.mkdir(exist_ok=True)
            for name in os.listdir(inside):
                (inside / name).unlink(missing_ok=True)
            try:
                inside.rmdir()
                inside.symlink_to(outside)
                inside.unlink()
            except OSError:
                continue

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(300):
            try:
                put(app, f"src/swap/{number}")
            except (IkomaError, OSError):
                continue
    finally:
        over.set()
        swapping.join()
    assert os.listdir(outside) == ["secret"]


def test_a_listing_that_is_too_long_says_so(app: App) -> None:
    for number in range(files.MOST_ENTRIES + 5):
        (app.path / "src" / f"{number}").touch()
    found, truncated = files.list_entries(app, FilePath("src"), recursive=True)
    assert (len(found), truncated) == (files.MOST_ENTRIES, True)


def test_folders_in_one_another_without_end_are_cut_off_in_a_listing_and_deleted(app: App) -> None:
    (app.path / "data").mkdir()
    folder = os.open(app.path / "data", os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("in", dir_fd=folder)
        inside = os.open("in", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inside
    os.close(folder)
    found, more = files.list_entries(app, None, recursive=True)
    assert (100 < len(found) < 110, more) == (True, True)
    files.delete(app, FilePath.parse("data"), recursive=True)
    assert [entry.path for entry in files.list_entries(app, None, recursive=True)[0]] == ["src"]
    assert file_history.prune(app, now=datetime.now(UTC) + timedelta(days=31)) == 1


def test_what_a_killed_writer_left_is_swept_away(app: App) -> None:
    (app.path / "src" / ".ikoma-writing-123").write_text("half")
    assert files.list_entries(app, FilePath("src"), recursive=False)[0] == []
    put(app, "src/a")
    assert os.listdir(app.path / "src") == ["a"]
