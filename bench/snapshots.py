"""Snapshots of a source of 200 MB: what twenty releases cost on the disk, and taking one against `cp -a`."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most, seconds
from bench.world import World, ratio, took
from ikoma.app_folder import App
from ikoma.apps.snapshots.snapshot import MANIFEST, Snapshots
from ikoma.compose.release_folder import TREE
from ikoma.model import AppName

_FILES, _SIZE, _FOLDERS = 4000, 50_000, 200
_RELEASES, _CHANGED = 20, _FILES // 100
_GROWTH, _UNCHANGED = 1.5, 0.5


def snapshots(world: World) -> Iterator[Figure]:
    """Each release is taken and its tree made; then nothing changes any more, and ours and `cp -a` alternate."""
    app = App(AppName("snapshots"), world.server.folder / "snapshots")
    chance = random.Random(1)
    for number in range(_FILES):
        _write(app, number, chance)
    os.sync()
    try:
        yield _growth(app, chance)
        yield _unchanged(app, world.rounds)
    finally:
        shutil.rmtree(app.path)


def _growth(app: App, chance: random.Random) -> Figure:
    first = last = 0
    for number in range(_RELEASES):
        _take(app, number, tree=True)
        last = _disk_usage(app.state)
        first = first or last
        for changed in chance.sample(range(_FILES), _CHANGED):
            _write(app, changed, chance)
    what = f"{_RELEASES} releases of a {_FILES * _SIZE / 1e6:.0f} MB source, 1 % of its files changed in each, over one"
    return at_most(what, last / first, _GROWTH, "×", ours=f"{last / 1e6:.0f} MB", beside=f"{first / 1e6:.0f} MB")


def _unchanged(app: App, rounds: int) -> Figure:
    copy = app.path / "copy"
    ours: list[float] = []
    beside: list[float] = []
    time.sleep(0.2)  # what was written a moment ago is read once more
    _take(app, _RELEASES)
    for number in range(_RELEASES + 1, _RELEASES + 1 + rounds * 2):
        ours.append(took(lambda number=number: _take(app, number)))
        beside.append(took(lambda: subprocess.run(["cp", "-a", app.source, copy], check=True)))
        shutil.rmtree(copy)
    what = f"snapshot of {_FILES:,} files of which none has changed, over `cp -a`"
    return at_most(what, ratio(ours, beside), _UNCHANGED, "×", ours=seconds(ours), beside=seconds(beside))


def _take(app: App, number: int, *, tree: bool = False) -> None:
    releases = app.make_state() / "releases"
    release = releases / str(number)
    release.mkdir(parents=True)
    earlier = releases / str(number - 1) / MANIFEST if number else None
    made = Snapshots(app)
    snapshot = made.take([app.source], release / MANIFEST, earlier)
    if tree:
        made.materialise(snapshot, release / TREE)


def _write(app: App, number: int, chance: random.Random) -> None:
    file = app.source / str(number % _FOLDERS) / str(number)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(chance.randbytes(_SIZE))


def _disk_usage(folder: Path) -> int:
    """Bytes on the disk; what has several names counts once."""
    return int(subprocess.run(["du", "-s", "-B1", folder], check=True, capture_output=True).stdout.split()[0])
