"""Facts of releases: one by one, and against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import COMPOSE, SERVE, make_app
from tests.images import busybox_image
from tests.support import Server

APP = "facts"
SECRET = "hunter2-$very-secret"
SECOND = COMPOSE.replace(
    "    init: true\n",
    "    init: true\n    labels: {{note: second}}\n"
    "    environment: {{TOKEN: '${{TOKEN}}', COLOUR: blue}}\n    mem_limit: 64m\n    user: '${{TOKEN}}'\n",
).replace("\nx-ikoma:", "\n  idle:\n    image: {image}\n    command: [sleep, infinity]\n    init: true\nx-ikoma:")


@pytest.fixture(scope="module")
def two(server: Server) -> Iterator[tuple[Path, str, str]]:
    """An app's folder, its first release and its second."""
    folder = make_app(server, APP)
    server.do("env.set", {"appName": APP, "name": "TOKEN", "value": SECRET})
    first = server.do("deploy.up", {"appName": APP, "reason": "the first"})["details"]["release"]
    (folder / "src" / "ok").write_text("another ok\n")
    (folder / "src" / "new").write_text("new\n")
    compose = SECOND.replace("    user: '${{TOKEN}}'\n", "    hostname: w\n")
    (folder / "docker-compose.yml").write_text(compose.format(image=busybox_image(), command=SERVE, health="/ok"))
    second = server.do("deploy.up", {"appName": APP, "reason": "the second"})["details"]["release"]
    yield folder, first, second
    server.do("apps.remove", {"appName": APP})


def test_a_release_is_shown_with_all_that_it_is_but_no_values(server: Server, two: tuple[Path, str, str]) -> None:
    shown = server.do("release.show", {"appName": APP}, role="observer")
    assert (shown["id"], shown["state"], shown["current"], shown["reason"]) == (two[2], "succeeded", True, "the second")
    assert {item["name"]: item["scale"] for item in shown["services"]} == {"web": 1, "idle": 1}
    assert all(item["image"].startswith("sha256:") for item in shown["services"])
    assert shown["source"]["files"] == 2
    assert shown["source"]["bytes"] == len("another ok\n" + "new\n")
    assert "TOKEN" in shown["environment"]
    assert SECRET not in json.dumps(shown)
    earlier = server.do("release.show", {"appName": APP, "release": two[1]})
    assert (earlier["current"], earlier["reason"], earlier["cause"], earlier["logs"]) == (False, "the first", None, [])


def test_two_releases_are_compared_and_no_value_is_told(server: Server, two: tuple[Path, str, str]) -> None:
    found = server.do("release.diff", {"appName": APP}, role="observer")
    assert (found["release"], found["to"]) == (two[2], two[1])
    assert (found["added"], found["removed"]) == (["idle"], [])
    [web] = found["changed"]
    assert web["service"] == "web"
    assert "environment: COLOUR added" in web["changes"]
    assert "labels: note added" in web["changes"]
    assert "hostname: none → w" in web["changes"]
    assert any(line.startswith("mem_limit: ") and "→" in line for line in web["changes"])
    assert (found["source"]["added"], found["source"]["changed"]) == (["src/new"], ["src/ok"])
    assert found["source"]["count"] == 2
    assert [item["service"] for item in found["images"]] == ["idle"]
    assert SECRET not in json.dumps(found)
    assert "blue" not in json.dumps(found)
    back = server.do("release.diff", {"appName": APP, "release": two[1], "to": two[2]})
    assert (back["removed"], back["source"]["removed"]) == (["idle"], ["src/new"])


def test_a_pinned_release_says_so_until_it_is_let_go(server: Server, two: tuple[Path, str, str]) -> None:
    def pinned() -> list[str]:
        return [item["id"] for item in server.do("release.list", {"appName": APP})["releases"] if item["pinned"]]

    assert server.do("release.pin", {"appName": APP, "release": two[1]}, role="operator")["pinned"]
    assert pinned() == [two[1]]
    assert server.cli("pin", APP, "--release", two[1], "--no-pinned").returncode == 0
    assert pinned() == []
    [second, first] = server.do("release.list", {"appName": APP})["releases"]
    assert (first["reason"], second["reason"]) == ("the first", "the second")
    assert first["servedAt"] < second["servedAt"]
    assert (second["compatible"], second["backup"]) == (True, None)


def test_a_release_that_is_not_kept_is_not_found(server: Server, two: tuple[Path, str, str]) -> None:
    gone = "20200102-030405-abcd"
    for capability, more in (("show", {}), ("diff", {}), ("pin", {}), ("diff", {"to": gone})):
        arguments = {"appName": APP, "release": two[2] if more else gone, **more}
        refused = server.call(f"release.{capability}", arguments)
        assert (refused.status, refused.code) == (404, "release_not_found"), capability
        assert two[2] in refused.body["hint"]
    assert server.call("release.diff", {"appName": APP, "release": two[1]}).code == "release_not_found"
    assert server.call("release.show", {"appName": APP, "release": "../../x"}).code == "invalid_arguments"
