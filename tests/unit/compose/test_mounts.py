from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.compose.model import EMPTY, parse_model
from ikoma.compose.mounts import find_sources, find_written
from ikoma.model import AppName


@pytest.fixture
def app(tmp_path: Path) -> App:
    for name in ("src", "src/uploads", "config", "data", "migrations", "outside"):
        (tmp_path / "app" / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "app" / "app.conf").write_text("a")
    (tmp_path / "app" / "config" / "app.conf").write_text("b")
    (tmp_path / "app" / "link").symlink_to(tmp_path)
    return App(AppName("shop"), tmp_path / "app")


def bind(app: App, path: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"type": "bind", "source": str(app.path / path), "target": "/there", "read_only": read_only}


def shown(app: App, paths: Iterable[Path]) -> set[str]:
    return {str(path.relative_to(app.path)) for path in paths}


@pytest.mark.parametrize(
    ("mounts", "block", "source", "writable", "data"),
    [
        ([("src", True)], {}, {"src"}, set(), set()),
        ([("src", False)], {}, set(), set(), {"src"}),
        ([("src", False)], {"source": ["src"]}, {"src"}, {"src"}, set()),
        ([("config", False)], {}, set(), set(), {"config"}),
        ([("src/uploads", False)], {}, set(), set(), {"src/uploads"}),
        ([("src", True), ("src/uploads", False)], {}, {"src"}, set(), {"src/uploads"}),
        ([("src", True), ("src", False)], {}, set(), set(), {"src"}),
        ([("data", False)], {}, set(), set(), {"data"}),
        ([("data", False)], {"source": ["data"]}, {"data"}, {"data"}, set()),
        ([("data", True)], {}, {"data"}, set(), set()),
        ([("data", True), ("data", False)], {}, set(), set(), {"data"}),
        ([("new", False)], {}, set(), set(), {"new"}),
        ([("src/uploads", False)], {"data": ["src/uploads"]}, set(), set(), {"src/uploads"}),
        ([("src/uploads", False)], {"source": ["src"]}, {"src/uploads"}, {"src/uploads"}, set()),
        ([("src/uploads", False)], {"source": ["src"], "data": ["src/uploads"]}, set(), set(), {"src/uploads"}),
        ([("src", True), ("src/uploads", True)], {"data": ["src/uploads"]}, {"src"}, set(), {"src/uploads"}),
        ([("config", True), ("src", True)], {}, {"config", "src"}, set(), set()),
        ([("src", True), ("src/uploads", True)], {}, {"src"}, set(), set()),
        ([("data", False), ("data/certs", True)], {}, {"data/certs"}, set(), {"data"}),
        ([("app.conf", False)], {}, {"app.conf"}, {"app.conf"}, set()),
        ([("app.conf", True)], {}, {"app.conf"}, set(), set()),
        ([("config/app.conf", False)], {"data": ["config/app.conf"]}, set(), set(), {"config/app.conf"}),
        ([(".env", True)], {}, set(), set(), set()),
        ([("link", True)], {}, set(), set(), set()),
        ([("..", True)], {}, set(), set(), set()),
    ],
)
def test_a_folder_that_a_container_may_write_is_data_unless_the_app_says_that_it_is_source(
    app: App,
    mounts: list[tuple[str, bool]],
    block: dict[str, list[str]],
    source: set[str],
    writable: set[str],
    data: set[str],
) -> None:
    volumes = [bind(app, path, read_only=only) for path, only in mounts]
    found = find_sources(app, parse_model({"services": {"web": {"volumes": volumes}}, "x-ikoma": block}))
    assert shown(app, found.paths) == source
    assert shown(app, found.writable) == writable
    assert shown(app, found.data) == data
    assert not any(found.holds(app.path / path / "deep") for path in data)
    assert all(found.holds(app.path / path / "deep") for path in source)


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
    found = find_sources(app, parse_model(model), besides=("migrations", "seeds"))
    assert shown(app, found.paths) == {"src", "outside", "config/page", "migrations"}
    assert found.holds(app.path / "src" / "deep" / "file")
    assert not found.holds(app.path / "src2")


@pytest.mark.parametrize(
    ("contexts", "mounts", "block", "source", "writable", "data", "left_out"),
    [
        (["."], ["data"], {}, {"."}, set(), {"data"}, {"data"}),
        (["."], ["src"], {}, {"."}, set(), {"src"}, set()),
        (["."], ["src"], {"source": ["src"]}, {"."}, {"src"}, set(), set()),
        (["."], ["src/uploads"], {}, {"."}, set(), {"src/uploads"}, {"src/uploads"}),
        (["outside"], ["outside/up", "data"], {}, {"outside"}, set(), {"outside/up", "data"}, {"outside/up"}),
        (["outside"], ["outside"], {}, {"outside"}, set(), {"outside"}, set()),
        ([".", "outside"], ["outside"], {}, {"."}, set(), {"outside"}, set()),
        (["src"], ["src/uploads"], {"data": ["src/uploads"]}, {"src"}, set(), {"src/uploads"}, {"src/uploads"}),
        (["src"], ["src"], {"data": ["src"]}, {"src"}, set(), {"src"}, set()),
        (["src"], ["src"], {}, {"src"}, set(), {"src"}, set()),
    ],
)
def test_what_is_built_from_is_source_and_what_containers_write_in_it_is_mounted_from_where_it_is(
    app: App,
    contexts: list[str],
    mounts: list[str],
    block: dict[str, list[str]],
    source: set[str],
    writable: set[str],
    data: set[str],
    left_out: set[str],
) -> None:
    builds = {path: {"build": {"context": str(app.path / path)}} for path in contexts}
    model = {"services": {**builds, "web": {"volumes": [bind(app, path) for path in mounts]}}, "x-ikoma": block}
    found = find_sources(app, parse_model(model), besides=("migrations",))
    assert shown(app, found.paths) == source | ({"migrations"} if "." not in contexts else set())
    assert shown(app, found.writable) == writable
    assert shown(app, found.data) == data
    assert shown(app, found.left_out) == left_out
    assert all(found.keeps(app.path / path) for path in contexts)
    assert not any(found.holds(app.path / path / "file") for path in data)
    assert not any(found.keeps(app.path / path / "file") for path in left_out)


@pytest.mark.parametrize(
    ("dockerfile", "left_out"),
    [
        ("COPY . .", True),
        ("COPY outside/up/list.txt /", False),
        ("COPY ./outside/up /up", False),
        ("COPY outside /all", False),
        ("ADD --chown=1:1 outside/up/ /", False),
        ('COPY ["outside/up", "/up"]', False),
        ("COPY --from=other outside/up /", True),
        ("COPY outside/update /", True),
    ],
)
def test_an_image_is_built_from_data_where_its_dockerfile_names_it(app: App, dockerfile: str, left_out: bool) -> None:
    build = {"context": str(app.path), "dockerfile_inline": f"FROM scratch\n{dockerfile}\n"}
    model = {"services": {"web": {"build": build, "volumes": [bind(app, "outside/up")]}}}
    found = find_sources(app, parse_model(model))
    assert shown(app, found.left_out) == ({"outside/up"} if left_out else set())
    assert not found.holds(app.path / "outside" / "up")


def test_a_way_that_leads_out_of_a_written_folder_is_no_source(app: App) -> None:
    """A container may have put the link there."""
    (app.path / "data" / "certs").symlink_to("../config")
    volumes = [bind(app, "data"), bind(app, "data/certs", read_only=True)]
    assert find_sources(app, parse_model({"services": {"web": {"volumes": volumes}}})).paths == ()


def test_the_data_below_a_folder_is_told_without_what_lies_in_it(app: App) -> None:
    volumes = [bind(app, path) for path in ("src/uploads", "src/uploads/deep", "data")]
    found = find_sources(app, parse_model({"services": {"web": {"volumes": volumes}}}))
    assert shown(app, found.list_data_below(app.path / "src")) == {"src/uploads"}


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
    model = parse_model({"services": {"web": {"volumes": [mount]}}})
    assert [item.raw for item in find_written(model, "web", find_sources(app, EMPTY))] == [mount] * writes


@pytest.mark.parametrize(("taken", "writes"), [("db", True), ("db:rw", True), ("db:ro", False), ("job", True)])
def test_mounts_that_a_service_takes_from_another_are_its_own(app: App, taken: str, writes: bool) -> None:
    mount = {"type": "volume", "source": "store"}
    services = {"web": {"volumes_from": [taken]}, "job": {"volumes_from": ["db", "web"]}, "db": {"volumes": [mount]}}
    found = find_written(parse_model({"services": services}), "web", find_sources(app, EMPTY))
    assert [item.raw for item in found] == [mount] * writes


def test_what_nobody_may_look_into_is_no_source(app: App) -> None:
    mount = {"type": "bind", "source": "/proc/1/root", "target": "/there"}
    assert find_sources(app, parse_model({"services": {"web": {"volumes": [mount]}}})).paths == ()


def test_a_folder_of_data_and_a_file_are_written_by_one_and_a_folder_of_source_by_each(app: App) -> None:
    for name, block, is_one in (("src", {"source": ["src"]}, False), ("src", {}, True), ("app.conf", {}, True)):
        model = parse_model({"services": {"web": {"volumes": [bind(app, name)]}}, "x-ikoma": block})
        assert [item.raw for item in find_written(model, "web", find_sources(app, model))] == [bind(app, name)] * is_one


def test_many_mounts_are_told_apart_in_time(app: App) -> None:
    paths = [f"data/{number}/{name}" for number in range(5_000) for name in ("in", "out")]
    mounts = [bind(app, path, read_only=path.endswith("in")) for path in paths]
    found = find_sources(app, parse_model({"services": {"web": {"volumes": mounts}}}))
    assert len(found.paths) == 5_000
