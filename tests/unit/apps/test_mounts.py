from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.folder import App
from ikoma.apps.mounts import sources, written
from ikoma.model import AppName


@pytest.fixture
def app(tmp_path: Path) -> App:
    for name in ("src", "src/uploads", "config", "data", "migrations", "outside"):
        (tmp_path / "app" / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "app" / "link").symlink_to(tmp_path)
    return App(AppName("shop"), tmp_path / "app")


def bind(app: App, path: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"type": "bind", "source": str(app.path / path), "target": "/there", "read_only": read_only}


@pytest.mark.parametrize(
    ("mounts", "data", "source", "writable"),
    [
        ([("src", True)], [], {"src"}, set()),
        ([("src", False)], [], {"src"}, {"src"}),
        ([("data", False)], [], set(), set()),
        ([("data", True)], [], {"data"}, set()),
        ([("data", True), ("data", False)], [], set(), set()),
        ([("src/uploads", False)], ["src/uploads"], set(), set()),
        ([("src", True), ("src/uploads", False)], ["src/uploads"], {"src"}, set()),
        ([("config", True), ("src", True)], [], {"config", "src"}, set()),
        ([("src", True), ("src/uploads", True)], [], {"src"}, set()),
        ([("link", True)], [], set(), set()),
        ([("..", True)], [], set(), set()),
    ],
)
def test_what_is_read_or_lies_in_src_is_source_and_what_else_is_written_is_data(
    app: App, mounts: list[tuple[str, bool]], data: list[str], source: set[str], writable: set[str]
) -> None:
    model = {"services": {"web": {"volumes": [bind(app, path, read_only=only) for path, only in mounts]}}}
    found = sources(app, model, data)
    assert {str(path.relative_to(app.path)) for path in found.paths} == source
    assert {str(path.relative_to(app.path)) for path in found.writable} == writable


def test_what_builds_configs_and_secrets_read_is_source_and_what_else_is_asked_for(app: App) -> None:
    model = {
        "services": {
            "web": {
                "build": {
                    "context": str(app.path / "src"),
                    "additional_contexts": {"more": str(app.path / "outside"), "image": "docker-image://busybox"},
                }
            }
        },
        "configs": {"page": {"file": str(app.path / "config" / "page")}, "given": {"content": "text"}},
        "secrets": {"token": {"environment": "TOKEN"}},
    }
    found = sources(app, model, [], besides=("migrations", "seeds"))
    names = {str(path.relative_to(app.path)) for path in found.paths}
    assert names == {"src", "outside", "config/page", "migrations"}
    assert found.holds(app.path / "src" / "deep" / "file")
    assert not found.holds(app.path / "src2")


@pytest.mark.parametrize(
    ("contexts", "mounts", "named", "source", "writable", "data"),
    [
        (["."], ["data"], [], {"."}, set(), {"data"}),
        (["."], ["src"], [], {"."}, {"src"}, set()),
        (["outside"], ["outside/up", "data"], [], {"outside"}, set(), {"outside/up"}),
        (["outside"], ["outside"], [], {"outside"}, {"outside"}, set()),
        ([".", "outside"], ["outside"], [], {"."}, {"outside"}, set()),
        (["src"], ["src/uploads"], ["src/uploads"], {"src"}, set(), {"src/uploads"}),
        (["src"], ["src"], ["src"], {"src"}, {"src"}, set()),
    ],
)
def test_data_inside_a_build_context_stays_data_and_what_is_built_from_is_source(
    app: App,
    contexts: list[str],
    mounts: list[str],
    named: list[str],
    source: set[str],
    writable: set[str],
    data: set[str],
) -> None:
    builds = {path: {"build": {"context": str(app.path / path)}} for path in contexts}
    model = {"services": {**builds, "web": {"volumes": [bind(app, path) for path in mounts]}}}
    found = sources(app, model, named, besides=("migrations",))
    for paths, expected in (
        (found.paths, source | ({"migrations"} if "." not in contexts else set())),
        (found.writable, writable),
        (found.data, data),
    ):
        assert {str(path.relative_to(app.path)) for path in paths} == expected
    assert all(found.holds(app.path / path) for path in contexts)
    assert not any(found.holds(app.path / path / "file") for path in data)


@pytest.mark.parametrize(
    ("mount", "writes"),
    [
        ({"type": "volume", "source": "store"}, True),
        ({"type": "volume", "source": "store", "read_only": True}, False),
        ({"type": "volume"}, False),
        ({"type": "tmpfs"}, False),
    ],
)
def test_a_volume_with_a_name_is_written_by_one(app: App, mount: dict[str, Any], writes: bool) -> None:
    model = {"services": {"web": {"volumes": [mount]}}}
    assert list(written(model, "web", sources(app, {}, []))) == [mount] * writes


@pytest.mark.parametrize(("taken", "writes"), [("db", True), ("db:rw", True), ("db:ro", False), ("job", True)])
def test_mounts_that_a_service_takes_from_another_are_its_own(app: App, taken: str, writes: bool) -> None:
    mount = {"type": "volume", "source": "store"}
    services = {"web": {"volumes_from": [taken]}, "job": {"volumes_from": ["db", "web"]}, "db": {"volumes": [mount]}}
    assert list(written({"services": services}, "web", sources(app, {}, []))) == [mount] * writes


def test_what_nobody_may_look_into_is_no_source(app: App) -> None:
    mount = {"type": "bind", "source": "/proc/1/root", "target": "/there"}
    assert sources(app, {"services": {"web": {"volumes": [mount]}}}, []).paths == ()


def test_a_folder_of_data_is_written_by_one_and_source_by_each(app: App) -> None:
    mount = bind(app, "src")
    model = {"services": {"web": {"volumes": [mount]}}}
    assert list(written(model, "web", sources(app, model, []))) == []
    assert list(written(model, "web", sources(app, model, ["src"]))) == [mount]


def test_many_mounts_are_told_apart_in_time(app: App) -> None:
    paths = [f"data/{number}/{name}" for number in range(5_000) for name in ("in", "out")]
    mounts = [bind(app, path, read_only=path.endswith("in")) for path in paths]
    found = sources(app, {"services": {"web": {"volumes": mounts}}}, [])
    assert len(found.paths) == 5_000
