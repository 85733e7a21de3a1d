"""deploy.down and what brings the same release back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.mcp.client import do, over_http, talk
from tests.support import Server

APP = "down-and-up"


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    made = make_app(server, APP, compose=COMPOSE + "  watch: 0s\n")
    server.do("env.set", {"appName": APP, "name": "COLOUR", "value": "blue"})
    server.do("deploy.up", {"appName": APP})
    yield made
    server.do("apps.remove", {"appName": APP})


def serving(server: Server) -> str | None:
    listed = server.do("release.list", {"appName": APP})["releases"]
    return next((item["id"] for item in listed if item["current"]), None)


def page(server: Server) -> str:
    url = next(url for url in server.do("apps.status", {"appName": APP})["urls"] if "127.0.0.1" in url)
    with urllib.request.urlopen(f"{url}/ok", timeout=60) as answer:
        return answer.read().decode()


def test_the_call_that_it_names_brings_the_same_release_back(server: Server, folder: Path) -> None:
    release = serving(server)
    for _ in range(2):  # also when it was down already
        answer = server.do("deploy.down", {"appName": APP}, role="operator")
        assert answer["next"] == {"capability": "deploy.restart", "arguments": {"appName": APP}}
        assert "deploy.restart" in answer["message"]
        assert str(release) in answer["message"]
    assert server.do("apps.status", {"appName": APP})["health"] == "stopped"
    (folder / "src" / "ok").write_text("changed meanwhile\n")
    (folder / "docker-compose.yml").write_text("services: {}\n")
    server.do("env.set", {"appName": APP, "name": "COLOUR", "value": "red"})
    back = server.do(answer["next"]["capability"], answer["next"]["arguments"], role="operator")
    assert back["details"]["release"] == release == serving(server)
    assert page(server) == "ok\n"
    assert server.do("apps.health", {"appName": APP})["health"] == "healthy"
    assert len(server.do("release.list", {"appName": APP})["releases"]) == 1


def test_over_mcp_it_is_a_tool_and_on_the_command_line_a_command(server: Server, folder: Path) -> None:
    async def conversation(client: Any) -> None:
        down = await do(client, "deploy_down", appName=APP)
        assert down["next"] == {"tool": "deploy_restart", "arguments": {"appName": APP}}
        back = await do(client, down["next"]["tool"], **down["next"]["arguments"])
        assert back["success"]

    talk(over_http(server, role="operator"), conversation)
    shown = server.cli("down", APP)
    assert shown.returncode == 0, shown.stderr
    whole = json.loads(server.cli("down", APP, "--json").stdout)
    assert whole["success"] is True
    assert server.cli("restart", APP).returncode == 0


def test_a_rollback_is_not_what_a_restart_goes_back_from(server: Server, folder: Path) -> None:
    server.do("files.restore", {"appName": APP, "release": serving(server)})
    first = serving(server)
    second = server.do("deploy.up", {"appName": APP})["details"]["release"]
    server.do("deploy.rollback", {"appName": APP})
    server.do("deploy.down", {"appName": APP})
    assert server.do("deploy.restart", {"appName": APP})["details"]["release"] == first != second


def test_what_was_never_deployed_is_deployed_next(server: Server) -> None:
    make_app(server, f"{APP}-not")
    answer = server.do("deploy.down", {"appName": f"{APP}-not"})
    assert answer["next"] == {"capability": "deploy.up", "arguments": {"appName": f"{APP}-not"}}
    assert server.call("deploy.restart", {"appName": f"{APP}-not"}).code == "not_deployed"
    server.do("apps.remove", {"appName": f"{APP}-not"})
