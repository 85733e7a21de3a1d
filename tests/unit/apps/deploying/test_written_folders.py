"""Containers' files live on: those in the copy that a release of an earlier version had of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ikoma.app_folder import App
from ikoma.apps.deploying.written_folders import adopt_folders, find_copies_in_use, resume_adoptions
from ikoma.apps.releases.release import Release, Releases, ServiceRecord
from ikoma.apps.snapshots.manifest import MANIFEST
from ikoma.apps.snapshots.snapshot import Snapshots
from ikoma.compose.model import parse_model
from ikoma.compose.release_folder import TREE
from ikoma.model import AppName
from ikoma.rollout_state import RolloutState, Serving

FIRST = "20261125-173855-1841"
SECOND = "20261126-173855-1841"


class Killed(BaseException):
    """The server ends here."""


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(AppName("shop"), tmp_path / "shop")
    made.path.mkdir()
    write(made.path, {"src/code": "one", "src/old": "old", "src/deep/page": "page", "src/gone": "gone"})
    return made


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def content(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def old_release(app: App, identity: str = FIRST, folder: str = "src", **more: Any) -> Path:
    """A release that serves, as an earlier version made it; its copy of the folder, which containers write."""
    releases, services = Releases(app), {"web": ServiceRecord(one_shot=False, configuration="c")}
    release = Release(identity, "test", "2026-11-25T17:38:55Z", served_at="2026-11-25", services=services, **more)
    made = releases.open(release, parse_model({"services": {"web": {}}}), {}, {})
    snapshots = Snapshots(app)
    taken = snapshots.take([Path(os.path.realpath(app.path)) / folder], made / MANIFEST)
    snapshots.materialise(taken, made / TREE, writable=[taken.root / folder])
    mount = {"type": "bind", "source": str(made / TREE / folder), "target": "/app"}
    releases.locate_compose_file(release).write_bytes(orjson.dumps({"services": {"web": {"volumes": [mount]}}}))
    releases.succeed(release)
    RolloutState(app).write(Serving(identity, "rollout", 0.0))
    return made / TREE / folder


def test_what_containers_wrote_becomes_the_folder_and_what_a_person_changed_is_put_into_it(app: App) -> None:
    copy = old_release(app)
    running = os.open(copy, os.O_RDONLY)  # as a container has it
    write(copy, {"uploads/photo": "x" * 1000, "old": "written"})
    (copy / "gone").unlink()
    write(app.path, {"src/code": "two", "src/deep/more": "more"})
    (app.path / "src" / "deep" / "page").unlink()
    assert adopt_folders(app, [FIRST], []) == []
    found = {"code": "two", "old": "written", "uploads/photo": "x" * 1000, "deep/more": "more"}
    assert content(app.path / "src") == found
    assert copy.is_symlink()
    assert copy.resolve() == app.path / "src"
    late = os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=running)
    os.write(late, b"late")
    assert content(app.path / "src") == found | {"late": "late"}, "what runs goes on writing the same folder"
    assert adopt_folders(app, [FIRST], []) == []
    assert content(app.path / "src") == found | {"late": "late"}
    for descriptor in (late, running):
        os.close(descriptor)


def test_where_both_changed_a_file_that_of_the_containers_stays_and_the_other_is_kept(app: App) -> None:
    copy = old_release(app)
    write(copy, {"code": "theirs", "new/both": "theirs", "same": "same", "way": "a file"})
    write(app.path, {"src/code": "mine", "src/new/both": "mine", "src/same": "same", "src/way/there": "mine"})
    kept = adopt_folders(app, [FIRST], [])
    theirs = {"code": "theirs", "new/both": "theirs", "same": "same", "way": "a file"}
    assert content(app.path / "src") == {"old": "old", "deep/page": "page", "gone": "gone"} | theirs
    assert content(app.state / "kept" / FIRST / "src") == {"code": "mine", "new/both": "mine", "way/there": "mine"}
    assert sorted(kept) == [f"kept/{FIRST}/src/{name}" for name in ("code", "new/both", "way/there")]


def test_nothing_is_followed_that_a_container_put_in_the_way(app: App, tmp_path: Path) -> None:
    copy = old_release(app)
    outside = tmp_path / "outside"
    outside.mkdir()
    (copy / "deep" / "page").unlink()
    (copy / "deep").rmdir()
    (copy / "deep").symlink_to(outside)
    (copy / "code").unlink()
    (copy / "code").symlink_to(outside / "code")
    write(app.path, {"src/deep/page": "changed", "src/deep/new": "new", "src/code": "changed"})
    adopt_folders(app, [FIRST], [])
    assert content(outside) == {}
    assert (app.path / "src" / "deep").is_symlink()
    kept = content(app.state / "kept" / FIRST / "src")
    assert kept == {"deep/page": "changed", "deep/new": "new", "code": "changed"}


@pytest.mark.parametrize("said", ["now", "then"])
def test_a_folder_that_the_app_calls_source_stays_with_its_release(app: App, said: str) -> None:
    copy = old_release(app, extension={"source": ["src"]} if said == "then" else {})
    write(copy, {"written": "x"})
    adopt_folders(app, [FIRST], ["src"] if said == "now" else [])
    assert not (app.path / "src" / "written").exists()
    assert (copy / "written").read_text() == "x"


def test_a_folder_that_is_not_there_any_more_is_what_containers_wrote(app: App) -> None:
    copy = old_release(app, folder="src/deep")
    write(copy, {"more": "x"})
    for path in (app.path / "src" / "deep" / "page", app.path / "src" / "deep"):
        path.unlink() if path.is_file() else path.rmdir()
    adopt_folders(app, [FIRST], [])
    assert content(app.path / "src" / "deep") == {"page": "page", "more": "x"}


def test_copies_of_two_releases_that_containers_have_are_both_kept(app: App) -> None:
    first = old_release(app)
    write(first, {"of-first": "1", "code": "first"})
    second = old_release(app, SECOND)
    write(second, {"of-second": "2"})
    in_use = find_copies_in_use(app, [FIRST, SECOND])
    assert in_use == [SECOND, FIRST]
    adopt_folders(app, in_use, [])
    found = content(app.path / "src")
    assert (found["of-first"], found["of-second"], found["code"]) == ("1", "2", "first")
    assert first.resolve() == second.resolve() == app.path / "src"


def test_of_two_copies_the_newer_one_wins_and_the_other_is_kept(app: App) -> None:
    first = old_release(app)
    write(first, {"log": "of first", "code": "first"})
    write(app.path, {"src/code": "two"})
    second = old_release(app, SECOND)
    write(second, {"log": "of second"})
    running = os.open(second, os.O_RDONLY)
    kept = adopt_folders(app, [SECOND, FIRST], [])
    assert content(app.path / "src")["log"] == "of second"
    assert content(app.path / "src")["code"] == "two"
    assert sorted(Path(path).name for path in kept) == ["code", "log"]
    assert {(app.state / path).read_text() for path in kept} == {"of first", "first"}
    os.close(os.open("late", os.O_CREAT, dir_fd=running))
    os.close(running)
    assert (app.path / "src" / "late").exists()


def test_the_copy_that_a_container_was_kept_with_is_found_when_the_app_is_down(app: App) -> None:
    old_release(app)
    old_release(app, SECOND)
    assert find_copies_in_use(app, []) == [SECOND, FIRST]
    assert find_copies_in_use(app, [FIRST]) == [SECOND, FIRST]
    assert find_copies_in_use(app, [SECOND]) == [SECOND]


CALLS = ("rename", "symlink", "unlink", "mkdir", "rmdir")


def counting(monkeypatch: pytest.MonkeyPatch, kill_at: int | None, *names: str) -> list[str]:
    """Count what changes the disk; before one of these calls the server is killed."""
    seen: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counts(*args: Any, **more: Any) -> Any:
            if len(seen) == kill_at:
                raise Killed
            seen.append(name)
            return call(*args, **more)

        return counts

    for name in names or CALLS:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return seen


def prepared(app: App) -> None:
    copy = old_release(app)
    write(copy, {"uploads/photo": "x" * 1000, "old": "theirs", "both": "theirs"})
    write(app.path, {"src/code": "two", "src/new/page": "new", "src/both": "mine"})
    (app.path / "src" / "gone").unlink()


def test_a_server_that_is_killed_anywhere_loses_no_byte(app: App, tmp_path: Path) -> None:
    prepared(app)
    with pytest.MonkeyPatch.context() as patch:
        calls = counting(patch, None)
        adopt_folders(app, [FIRST], [])
    wanted = content(app.path / "src")
    assert wanted == {
        "uploads/photo": "x" * 1000, "old": "theirs", "both": "theirs", "code": "two", "new/page": "new",
        "deep/page": "page",
    }  # fmt: skip
    assert len(calls) > 10
    for kill_at in range(len(calls)):
        again = App(app.name, tmp_path / str(kill_at) / "shop")
        again.path.mkdir(parents=True)
        write(again.path, {"src/code": "one", "src/old": "old", "src/deep/page": "page", "src/gone": "gone"})
        prepared(again)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            counting(patch, kill_at)
            adopt_folders(again, [FIRST], [])
        resume_adoptions(again)
        assert (again.path / "src").is_dir()
        adopt_folders(again, [FIRST], [])
        assert content(again.path / "src") == wanted, f"killed before {calls[kill_at]}, call {kill_at}"
        assert content(again.state / "kept" / FIRST / "src") == {"both": "mine"}


def test_what_appears_in_the_folder_while_it_is_half_adopted_is_kept_too(app: App) -> None:
    prepared(app)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        counting(patch, 1, "rename")
        adopt_folders(app, [FIRST], [])
    assert not (app.path / "src").exists()
    write(app.path, {"src/meanwhile": "m"})
    resume_adoptions(app)
    found = content(app.path / "src")
    assert (found["meanwhile"], found["old"], found["code"]) == ("m", "theirs", "two")
    assert "gone" not in found
