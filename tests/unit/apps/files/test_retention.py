"""Retention lets go in time of what is set aside in an app's `.ikoma`, and of nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.files.retention import ASIDE_DAYS, FETCHED_DAYS, tidy
from ikoma.model import AppName

DAY = 86_400


def aged(path: Path, days: float) -> Path:
    """A file in folders whose last change was so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    moment = time.time() - days * DAY
    for place in (path, path.parent, path.parent.parent):
        os.utime(place, (moment, moment))
    return path


def test_what_is_old_goes_and_what_is_young_or_another_stays(tmp_path: Path) -> None:
    app = App(AppName("shop"), tmp_path)
    old = [
        aged(app.state / "kept" / "20250101-x" / "src" / "up" / "file", ASIDE_DAYS + 1),
        aged(app.state / "source.git" / "objects" / "pack", FETCHED_DAYS + 1),
    ]
    for part in ("src", "."):
        moment = time.time() - (ASIDE_DAYS + 1) * DAY
        os.utime(app.state / "kept" / "20250101-x" / part, (moment, moment))
    stay = [
        aged(app.state / "replaced" / "20250101-120000-ab" / "file", ASIDE_DAYS + 1),
        aged(app.state / "kept" / "20260101-y" / "file", ASIDE_DAYS - 1),
        aged(app.state / "source-modules" / "one" / "file", FETCHED_DAYS - 1),
        aged(app.state / "releases" / "20250101-x" / "file", ASIDE_DAYS * 9),
        aged(app.state / "history" / "20250101-x-y" / "file", ASIDE_DAYS * 9),
        aged(tmp_path / "data" / "kept" / "file", ASIDE_DAYS * 9),
    ]
    assert len(tidy(app)) == 2
    assert [path.exists() for path in old] == [False] * 2
    assert [path.exists() for path in stay] == [True] * 6


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    app = App(AppName("shop"), tmp_path / "shop")
    outside = aged(tmp_path / "outside" / "entry" / "file", ASIDE_DAYS * 9)
    app.state.mkdir(parents=True)
    (app.state / "kept").symlink_to(tmp_path / "outside")
    (app.state / "source.git").symlink_to(tmp_path / "outside")
    assert tidy(app) == []
    assert outside.exists()


def test_an_app_that_has_set_nothing_aside_is_left(tmp_path: Path) -> None:
    assert tidy(App(AppName("shop"), tmp_path)) == []
