"""Apps' share of the machine, as it is asked for over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.support import Server

APP, OTHER = "measured", "measured-too"
BUSY = """  busy:
    image: {image}
    command: ["sh", "-c", "while :; do :; done"]
    cpus: 0.2
    mem_limit: 64m
    init: true
"""
HOLDS = "held=$$(head -c 12000000 /dev/zero | tr '\\0' x); httpd -f -p 3000 -h /www; echo $$held"
"""A shell that holds 12 MB beside what it serves with: far more than what two looks at one container differ by."""


@pytest.fixture(scope="module", autouse=True)
def apps(server: Server) -> Iterator[None]:
    make_app(server, APP, compose=COMPOSE.replace("x-ikoma:", BUSY + "x-ikoma:"))
    make_app(server, OTHER, command=json.dumps(["sh", "-c", HOLDS]))
    for name in (APP, OTHER):
        server.do("deploy.up", {"appName": name})
    yield
    for name in (APP, OTHER):
        server.do("apps.remove", {"appName": name})


def top(server: Server, app: str | None = APP, **more: Any) -> list[dict[str, Any]]:
    given = {"appName": app} if app else {"limit": 1000}
    return list(server.do("apps.top", given, **{"role": "observer", **more})["services"])


def test_each_service_is_told_with_what_it_takes_the_busiest_first(server: Server) -> None:
    busy, web = top(server)
    assert (busy["app"], busy["service"], busy["containers"]) == (APP, "busy", 1)
    assert busy["cpuPercent"] > web["cpuPercent"]
    assert busy["memoryLimitBytes"] == 64 << 20
    assert 0 < web["memoryBytes"] < web["memoryLimitBytes"]


def test_containers_of_a_service_are_counted_together(server: Server) -> None:
    (before,) = top(server, OTHER)
    server.do("deploy.scale", {"appName": OTHER, "service": "web", "replicas": 3})
    (after,) = top(server, OTHER)
    assert (before["containers"], after["containers"]) == (1, 3)
    assert after["memoryLimitBytes"] == 3 * before["memoryLimitBytes"]
    assert before["memoryBytes"] > 12_000_000
    assert after["memoryBytes"] > 2 * before["memoryBytes"]


def test_a_key_sees_its_own_apps_only(server: Server) -> None:
    made = server.do("keys.create", {"name": "measures", "role": "observer", "apps": [OTHER]})
    try:
        assert {item["app"] for item in top(server, None, key=made["key"])} == {OTHER}
        assert server.call("apps.top", {"appName": APP}, key=made["key"]).code == "out_of_scope"
        assert server.call("apps.top", {"appName": "measured-not"}, key=made["key"]).code == "out_of_scope"
    finally:
        server.do("keys.revoke", {"id": made["id"]})
    assert {APP, OTHER} <= {item["app"] for item in top(server, None)}


def test_what_is_left_out_is_said_and_what_is_stopped_takes_nothing(server: Server) -> None:
    first = server.do("apps.top", {"appName": APP, "limit": 1})
    assert [item["service"] for item in first["services"]] == ["busy"]
    assert first["truncated"] is True
    server.do("deploy.down", {"appName": APP})
    assert server.do("apps.top", {"appName": APP}) == {"services": [], "truncated": False}
    assert server.call("apps.top", {"appName": "measured-not"}).code == "app_not_found"
