from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel, Mount, parse_model
from ikoma.compose.new_folders import forget_list, hand_over, make_folders
from ikoma.model import AppName

NODE = (1234, 2345)


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "shop").mkdir()
    return App(AppName("shop"), tmp_path / "shop")


def mounts(app: App, *paths: str, **more: Any) -> Sequence[Mount]:
    return model(app, *paths, **more).services["web"].mounts


def model(app: App, *paths: str, **more: Any) -> ComposeModel:
    mounts = [{"type": "bind", "source": str(app.path / path), "target": "/x", **more} for path in paths]
    return parse_model({"services": {"web": {"volumes": mounts}}})


def shown(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_a_new_folder_is_open_whatever_the_umask_and_handed_over_with_nothing_above_it(app: App) -> None:
    before = os.umask(0o077)
    try:
        make_folders(app, model(app, "data/deep"))
    finally:
        os.umask(before)
    assert [shown(app.path / name) for name in ("data", "data/deep")] == [(0, 0, 0o755)] * 2
    hand_over(app, mounts(app, "data/deep"), *NODE)
    assert shown(app.path / "data") == (0, 0, 0o755)
    assert shown(app.path / "data" / "deep") == (1234, 2345, 0o755)


def test_what_was_there_is_left_and_so_is_what_holds_something_or_is_only_read(app: App) -> None:
    (app.path / "there").mkdir(mode=0o755)
    make_folders(app, model(app, "there", "filled", "read"))
    (app.path / "filled" / "file").touch()
    hand_over(app, mounts(app, "there", "filled"), *NODE)
    hand_over(app, mounts(app, "read", read_only=True), *NODE)
    assert {shown(app.path / name)[:2] for name in ("there", "filled", "filled/file", "read")} == {(0, 0)}


def test_a_server_that_is_killed_in_between_hands_over_later(app: App) -> None:
    make_folders(app, model(app, "data"))
    make_folders(app, model(app, "data"))
    hand_over(app, mounts(app, "data"), *NODE)
    assert shown(app.path / "data")[:2] == (1234, 2345)
    forget_list(app)
    (app.path / "data").rmdir()
    (app.path / "data").mkdir(mode=0o755)
    hand_over(app, mounts(app, "data"), *NODE)
    assert shown(app.path / "data")[:2] == (0, 0), "a folder of a person is none of ours"


def test_a_link_is_not_handed_over(app: App, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir(mode=0o700)
    (app.path / "link").symlink_to(tmp_path / "outside")
    hand_over(app, mounts(app, "link"), *NODE)
    assert shown(tmp_path / "outside")[:2] == (0, 0)
