"""Single files that containers may write, from release to release."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from ikoma.app_folder import App
from ikoma.apps.deploying.written_files import continue_files, find_not_taken, keep_written
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot
from ikoma.apps.snapshots.snapshot import Snapshots
from ikoma.compose.model import EMPTY
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import TREE
from ikoma.model import AppName
from ikoma.rollout_state import RolloutState, Serving

FIRST, SECOND, THIRD = (f"2026112{number}-173855-1841" for number in range(3))


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(AppName("shop"), tmp_path / "shop")
    made.path.mkdir()
    (made.path / "app.db").write_text("as it came")
    return made


def deploy(app: App, identity: str, *, in_place: bool = False) -> Path:
    """A release with the file as it stands in the folder now; where its containers have it."""
    releases, snapshots = Releases(app), Snapshots(app)
    folder = releases.open(Release(identity, "test", "2026-11-25T17:38:55Z"), EMPTY, {}, {})
    root = Path(os.path.realpath(app.path))
    taken = snapshots.take([] if in_place else [root / "app.db"], folder / MANIFEST)
    serving = RolloutState(app).read_serving()
    snapshots.materialise(taken, folder / TREE, writable=[root / "app.db"])
    source = Sources((root / "app.db",), (root / "app.db",))
    if not in_place:
        continue_files(app, identity, taken, source, [serving.release] if serving else [])
    place = root / "app.db" if in_place else folder / TREE / "app.db"
    mount = {"type": "bind", "source": str(place), "target": "/app.db"}
    release = releases.find(identity)
    releases.locate_compose_file(release).write_bytes(orjson.dumps({"services": {"web": {"volumes": [mount]}}}))
    releases.succeed(release)
    RolloutState(app).write(Serving(identity, "rollout", 0.0))
    return place


def test_what_a_container_writes_goes_on_in_the_next_release_also_during_the_rollout(app: App) -> None:
    first = deploy(app, FIRST)
    first.write_text("written")
    second = deploy(app, SECOND)
    with first.open("a") as file:
        file.write(" until it was stopped")
    assert second.read_text() == "written until it was stopped"
    assert (app.path / "app.db").read_text() == "as it came"


def test_a_changed_file_begins_anew_and_the_earlier_release_has_its_own_still(app: App) -> None:
    first = deploy(app, FIRST)
    first.write_text("written")
    (app.path / "app.db").write_text("changed")
    assert deploy(app, SECOND).read_text() == "changed"
    assert first.read_text() == "written"
    (app.path / "app.db").write_text("as it came")
    assert deploy(app, THIRD).read_text() == "written", "what belongs to this content goes on with it"


def test_a_file_that_an_earlier_version_mounted_from_the_folder_goes_on(app: App) -> None:
    place = deploy(app, FIRST, in_place=True)
    place.write_text("written")
    second = deploy(app, SECOND)
    with place.open("a") as file:
        file.write(" until it was stopped")
    assert second.read_text() == "written until it was stopped"


def test_a_release_of_an_earlier_version_has_no_copy(app: App) -> None:
    root = Path(os.path.realpath(app.path))
    source = Sources((root / "app.db", root / "gone"), (root / "app.db", root / "gone"))
    assert find_not_taken(Snapshot(root, {}), source) == [root / "app.db"]


@pytest.mark.parametrize(("written", "kept"), [("written", ["written"]), (None, [])])
def test_what_only_a_forgotten_release_has_is_kept(app: App, written: str | None, kept: list[str]) -> None:
    first = deploy(app, FIRST)
    if written:
        first.write_text(written)
    (app.path / "app.db").write_text("changed")
    deploy(app, SECOND)
    keep_written(app, FIRST)
    keep_written(app, SECOND)
    assert [path.read_text() for path in (app.state / "kept").glob("*/app.db")] == kept


def test_what_another_release_has_too_is_not_kept_twice(app: App) -> None:
    deploy(app, FIRST).write_text("written")
    assert deploy(app, SECOND).read_text() == "written"
    keep_written(app, FIRST)
    assert not (app.state / "kept").exists()
