"""A container swaps a file of its app for a link or a pipe between a look at it and its opening."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv
from ikoma.apps.environment.entries import parse_entries
from ikoma.apps.snapshots.manifest import SnapshotEntry
from ikoma.apps.source import changes, placing
from ikoma.errors import EnvUnreadable, FileMissing, PathOutside
from ikoma.model import AppName

ROUNDS = 1000


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App(AppName("shop"), tmp_path / "shop")
    app.source.mkdir(parents=True)
    (tmp_path / "key").write_text("SECRET_OF_THE_SERVER\n")
    return app


@contextmanager
def swapping(path: Path, target: Path) -> Iterator[None]:
    """While the block runs, `path` is a file of `A=1` and a link to the target by turns."""
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            (path.parent / "next").write_text("A=1\n")
            (path.parent / "next").rename(path)
            (path.parent / "next").symlink_to(target)
            (path.parent / "next").rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _names(app: App) -> dict[str, str]:
    return dict.fromkeys(entry.name for entry in parse_entries(dotenv.read_bytes(app).decode()))


@pytest.mark.parametrize(
    ("name", "read"),
    [("src/.env.example", dotenv.read_expected), (".env", _names)],
)
def test_no_link_is_read_that_a_file_became(app: App, name: str, read: Callable[[App], dict[str, str]]) -> None:
    seen: set[str] = set()
    with swapping(app.path / name, app.path.parent / "key"):
        for _ in range(ROUNDS):
            with suppress(PathOutside):
                seen |= read(app).keys()
    assert seen <= {"A"}


def test_a_pipe_that_a_file_became_holds_nothing_up(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    path = app.source / "file"
    path.write_text("x")
    status = path.lstat()
    known = SnapshotEntry("file", status.st_mode & 0o777, 0, 0, "0" * 64, status.st_size)
    digest = placing.compute_digest(path)
    path.unlink()
    os.mkfifo(path)
    assert changes._differs(path, status, known)
    monkeypatch.setattr(Path, "lstat", lambda _: status)
    assert placing.compute_digest(path) not in (None, digest)


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "/".join(["a" * 200] * 40)])
def test_a_name_that_no_file_can_have_is_said_to_be_none(app: App, name: str) -> None:
    with pytest.raises((FileMissing, PathOutside)) as refused:
        app.read_inside(app.path / name, 100)
    assert refused.value.message


def test_variables_are_not_read_without_end(app: App) -> None:
    app.env_file.write_bytes(b"A=" + b"x" * (17 << 20))
    with pytest.raises(EnvUnreadable):
        dotenv.read_bytes(app)
