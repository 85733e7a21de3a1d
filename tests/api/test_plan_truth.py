"""A plan says what a deploy then does: the same services are replaced, also where no line of the file has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.support import Server

APP = "planned-true"
MORE = """    configs: [settings]
  side: {{image: {image}, command: [sleep, infinity], init: true, network_mode: "service:web"}}
  keeper: {{image: {image}, command: [sleep, infinity], init: true, volumes: ["dat:/dat"]}}
  idle: {{image: {image}, command: [sleep, infinity], init: true}}
volumes: {{dat: {{}}}}
configs: {{settings: {{file: ./config/settings}}}}
x-ikoma:
  database: [web, keeper]"""


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    made = make_app(server, APP, compose=COMPOSE.replace("x-ikoma:", MORE))
    (made / "config").mkdir(exist_ok=True)
    (made / "config" / "settings").write_text("one\n")
    yield made
    server.do("apps.remove", {"appName": APP})


def plan(server: Server) -> dict[str, Any]:
    found = server.do("deploy.plan", {"appName": APP})
    away = {item["service"]: item for item in found["downtime"]}
    return {item["service"]: {**item, "away": away.get(item["service"])} for item in found["changes"]}


def replaced(server: Server) -> set[str]:
    return set(server.do("deploy.up", {"appName": APP})["details"]["replaced"])


def test_a_plan_and_the_deploy_after_it_agree(server: Server, folder: Path) -> None:
    first = plan(server)
    assert {item["action"] for item in first.values()} == {"add"}
    assert all(item["reasons"] == [] and item["away"] is None for item in first.values())
    server.do("deploy.up", {"appName": APP})
    assert {item["action"] for item in plan(server).values()} == {"keep"}

    (folder / "config" / "settings").write_text("two\n")
    found = plan(server)
    assert found["web"]["reasons"] == ["config/settings has changed"]
    assert found["side"]["reasons"] == ["web, inside which it runs, is replaced"]
    assert replaced(server) == {name for name, item in found.items() if item["action"] == "replace"} == {"web", "side"}

    server.do("deploy.scale", {"appName": APP, "service": "idle", "replicas": 0})
    assert {item["action"] for item in plan(server).values()} == {"keep"}
    assert replaced(server) == set()

    server.do("db.create", {"appName": APP})
    found = plan(server)
    assert found["keeper"]["reasons"] == ["it gets the variables of the app's database"]
    assert "volume dat" in found["keeper"]["away"]["reason"]
    assert replaced(server) == {name for name, item in found.items() if item["action"] == "replace"}

    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("keeper", "holder"))
    found = plan(server)
    assert (found["holder"]["action"], found["keeper"]["action"]) == ("add", "remove")
    assert found["holder"]["reasons"] == ["it gets the volume dat of keeper"]
    assert found["holder"]["away"]["expected"] == "until it is healthy"
    assert "holder gets its volume dat" in found["keeper"]["away"]["reason"]
    server.do("deploy.up", {"appName": APP})

    server.do("deploy.down", {"appName": APP})
    found = plan(server)
    assert found["web"]["away"]["reason"] == "Nothing of it runs now."
    assert found["idle"]["action"] == "keep"
