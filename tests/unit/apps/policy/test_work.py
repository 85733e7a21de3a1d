"""The policy reads in time in proportion to the size: each text here would take hours where it did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import dockerfile, model
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.paths import locate
from ikoma.model import AppName

_LARGE = 1_000_000
"""Characters: as many as a file may have."""


@pytest.fixture
def facts(tmp_path: Path) -> HostFacts:
    return HostFacts(App(AppName("shop"), tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ARG " + "a" * _LARGE, id="a name without a value"),
        pytest.param("ARG " + "a9" * (_LARGE // 2) + "'", id="a name with numbers"),
        pytest.param("\\\n" * (_LARGE // 2), id="empty lines that go on"),
        pytest.param("#\\\n" * (_LARGE // 3), id="comments that go on"),
        pytest.param("RUN <<X\n" + "\\\n" * (_LARGE // 2), id="empty lines that go on and a text"),
        pytest.param("RUN <<X\n" + "a\\\n" + "#\\\n" * (_LARGE // 3), id="comments that go on in a text"),
        pytest.param(
            "".join(f"ARG A={number}\n" for number in range(50_000)) + "".join(f"FROM $A:{n}\n" for n in range(40_000)),
            id="an argument of many values in many lines",
        ),
        pytest.param("FROM a" + " " * _LARGE + "x y", id="spaces"),
        pytest.param("FROM " + "${a-" * (_LARGE // 4), id="variables without end"),
    ],
)
def test_a_dockerfile_is_read_in_time(text: str) -> None:
    list(dockerfile.find_problems(text, {}))


@pytest.mark.parametrize("piece", ["a", "${a", "${a:-", "$a", "$"])
def test_variables_are_found_in_time(piece: str) -> None:
    dotenv.find_references("x-a: '${a" + piece * (_LARGE // len(piece)) + "'")


def test_deep_paths_are_refused(facts: HostFacts) -> None:
    def folder(name: str) -> str:
        return str(facts.app.path) + f"/{name}" * 20_000

    mounts = [{"type": "bind", "source": source, "target": "/d"} for source in (folder("a"), folder("b"))]
    web = {"image": "nginx:1", "volumes": mounts}
    built = {"build": {"context": folder("c"), "additional_contexts": {"more": folder("d")}}}
    services = {"web": web, "built": built}
    found = model.check(parse_model({"services": services, "configs": {"c": {"file": folder("e")}}}), facts)
    assert {item.rule for item in found} == {"too-large"}
    assert len(found) == 5


def test_a_deep_dockerfile_is_outside(facts: HostFacts) -> None:
    build = {"context": str(facts.app.path), "dockerfile": "a/" * 100_000}
    found = model.check(parse_model({"services": {"web": {"build": build}}}), facts)
    assert {item.rule for item in found} == {"build-outside"}


def test_many_mounts_are_compared_in_time(facts: HostFacts) -> None:
    def services(count: int, mounts: int) -> ComposeModel:
        folder = f"{facts.app.path}/SERVICE/NUMBER/a/b/c/d/e/f"
        made = {
            f"s{service}": {
                "image": "nginx:1",
                "volumes": [
                    {
                        "type": "bind",
                        "source": folder.replace("SERVICE", str(service)).replace("NUMBER", str(number)),
                        "target": f"/{number}",
                    }
                    for number in range(mounts)
                ],
            }
            for service in range(count)
        }
        return parse_model({"services": made})

    assert model.check(services(5, 200), facts) == []
    for count, mounts in ((1, 201), (1, 100_000), (6, 200)):
        assert {item.rule for item in model.check(services(count, mounts), facts)} == {"too-large"}


def test_a_way_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a/" * 2000)
    assert locate(str(tmp_path / "link")).path == Path("/")


def test_what_is_passed_is_each_folder_above_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("../b/c")
    passed = locate(f"{tmp_path}/a/link/d").passed
    assert {tmp_path, tmp_path / "a", tmp_path / "b", tmp_path / "b" / "c", Path("/")} <= passed
    assert tmp_path / "b" / "c" / "d" not in passed
