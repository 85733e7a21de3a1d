"""A folder is brought to a checkout file by file: whoever is killed at any step in between loses nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.source import checkout
from ikoma.apps.source.checkout import APP, SRC, CheckoutRequest
from ikoma.apps.source.placing import CheckoutFiles, compare, compute_digests, list_files
from ikoma.apps.source.url import SourceUrl
from ikoma.errors import SourceChanged
from ikoma.model import AppName

URL = SourceUrl.parse("https://git.example.org/you/shop")
BEFORE = {
    "docker-compose.yml": "services: {}\n",
    "src/a": "1",
    "src/same": "same",
    "src/gone/deep/b": "1",
    "file-to-folder": "1",
    "folder-to-file/x": "1",
    "config/c": "1",
}
AFTER = {
    "docker-compose.yml": "services: {a: {}}\n",
    "src/a": "2",
    "src/same": "same",
    "src/new/n": "2",
    "file-to-folder/inside": "2",
    "folder-to-file": "2",
    "config/c": "2",
}
SERVERS = {".env": "A=1\n", "data/upload": "u", "src/own": "own", "config/changed": "mine"}


class Killed(BaseException):
    """As the kernel would end the process: nothing after it runs."""


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(AppName("shop"), tmp_path / "shop")
    made.path.mkdir()
    return made


def write(folder: Path, contents: Mapping[str, str]) -> None:
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def stage(app: App, contents: Mapping[str, str]) -> Path:
    staged = app.make_state() / "staged-now"
    shutil.rmtree(staged, ignore_errors=True)
    write(staged, contents)
    return staged


def bring(
    app: App, contents: Mapping[str, str], *, overwrite: bool = False, into: str = APP
) -> checkout.CheckoutResult:
    wanted = CheckoutRequest(URL, "main", into=into, overwrite=overwrite)
    return checkout._take_over(app, wanted, "c" * 40, "ann", stage(app, contents))


def held(app: App) -> dict[str, str]:
    return {path: (app.path / path).read_text() for path in list_files(app.path) if not path.startswith(".ikoma/")}


def kept(app: App) -> list[str]:
    return sorted((app.state / "replaced" / path).read_text() for path in list_files(app.state / "replaced"))


def test_what_is_the_repositorys_changes_and_what_is_the_servers_stays(app: App) -> None:
    bring(app, BEFORE)
    write(app.path, SERVERS)
    bring(app, AFTER)
    assert held(app) == {**AFTER, **SERVERS}
    assert kept(app) == []
    assert not (app.path / "src" / "gone").exists()


def test_killed_at_any_step_the_next_start_comes_to_the_same_end(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(app, BEFORE)
    write(app.path, SERVERS)
    (app.path / "src" / "a").write_text("changed by hand")
    origin = tmp_path / "origin"
    shutil.copytree(app.path, origin)
    steps = 0
    while True:
        shutil.rmtree(app.path)
        shutil.copytree(origin, app.path)
        left = steps
        with monkeypatch.context() as patched:
            for name in ("rename", "unlink", "rmdir", "mkdir"):
                real = getattr(os, name)

                def step(*arguments: object, real: object = real, **named: object) -> object:
                    nonlocal left
                    if left == 0:
                        raise Killed
                    left -= 1
                    return real(*arguments, **named)  # type: ignore[operator]

                patched.setattr(os, name, step)
            try:
                bring(app, AFTER, overwrite=True)
                was_killed = False
            except Killed:
                was_killed = True
        record = checkout.read_record(app)
        assert record is not None
        is_on_record = record.staged is not None
        checkout.recover(app)
        if was_killed and not is_on_record and held(app) != {**AFTER, **SERVERS}:
            assert held(app) == {**BEFORE, **SERVERS, "src/a": "changed by hand"}  # nothing had begun
        else:
            assert held(app) == {**AFTER, **SERVERS}
            assert "changed by hand" in kept(app)
        assert not list(app.state.glob("staged-*"))
        if not was_killed:
            break
        steps += 1
    assert steps > 20


def test_a_file_that_was_changed_by_hand_is_named_and_nothing_changes(app: App) -> None:
    bring(app, BEFORE)
    write(app.path, {"src/a": "by hand", "src/new/n": "by hand too"})
    (app.path / "config" / "c").unlink()
    before = held(app)
    with pytest.raises(SourceChanged) as refused:
        bring(app, AFTER)
    assert refused.value.details["changed"] == ["config/c", "src/a", "src/new/n"]
    assert held(app) == before
    bring(app, AFTER, overwrite=True)
    assert held(app) == AFTER
    assert kept(app) == ["by hand", "by hand too"]


def test_a_folder_of_the_servers_where_a_file_of_the_repository_belongs_is_not_lost(app: App) -> None:
    bring(app, {"docker-compose.yml": "services: {}\n"})
    write(app.path, {"place/of/mine": "mine"})
    with pytest.raises(SourceChanged) as refused:
        bring(app, {"docker-compose.yml": "services: {}\n", "place": "theirs"})
    assert refused.value.details["changed"] == ["place"]
    bring(app, {"docker-compose.yml": "services: {}\n", "place": "theirs"}, overwrite=True)
    assert (app.path / "place").read_text() == "theirs"
    assert kept(app) == ["mine"]


def test_from_src_to_the_whole_app_and_back_nothing_is_doubled_or_lost(app: App) -> None:
    bring(app, {"index.js": "1"}, into=SRC)
    write(app.path, SERVERS)
    (app.path / "src" / "own").unlink()
    assert held(app)["src/index.js"] == "1"
    bring(app, BEFORE)
    assert "src/index.js" not in held(app)
    assert held(app)["src/a"] == "1"
    bring(app, {"index.js": "2"}, into=SRC)
    assert {path for path in held(app) if path.startswith("src/")} == {"src/index.js"}
    assert held(app)["docker-compose.yml"] == BEFORE["docker-compose.yml"]  # it is the server's from now on


def test_in_data_the_containers_have_the_last_word(tmp_path: Path) -> None:
    write(tmp_path, {"data/db": "changed", "data/logo": "1", "data/mine": "m", "data/both": "2"})
    before = {"data/db": "1", "data/logo": "1", "data/removed": "1", "data/both": "1", "data/went": "1"}
    coming = {
        "data/db": "2",
        "data/logo": "2",
        "data/removed": "2",
        "data/both": "2",
        "data/new": "2",
        "data/mine": "t",
    }

    def marks(contents: Mapping[str, str]) -> dict[str, str]:
        folder = tmp_path / f"marks-{len(os.listdir(tmp_path))}"
        write(folder, contents)
        return compute_digests(folder)

    found = compare(tmp_path, CheckoutFiles(marks(before), marks(coming), ["data"]))
    assert found.left == ["data/db", "data/mine", "data/removed"]
    assert (found.changed, set(found.clear)) == ([], {"data/logo"})
    assert found.present == {"data/both", "data/went"}


def test_a_folder_that_is_data_altogether_keeps_all_that_was_not_checked_out(tmp_path: Path) -> None:
    write(tmp_path, {"made/by": "containers", "a": "changed"})
    found = compare(tmp_path, CheckoutFiles({"a": "1"}, {"a": "2"}, [""], alone=True))
    assert (found.left, found.changed, found.clear) == (["a"], [], {})
