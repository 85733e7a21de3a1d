"""Whatever stands in a compose file, apps.validate has findings for it and never fails itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.images import busybox_image
from tests.support import Server

NAME = "odd-values"
ODD: list[Any] = [
    *(["web"], [["web"]], [{"a": "b"}], {"a": ["b"]}, "a\0b", "x" * 300, "9" * 5000, -1, 1e300, 99999, True, None, ""),
    *(
        "http://localhost:" + "9" * 5000 + "/",
        "http://localhost:99999/",
        "²",
        "٣",
        "./" + "x" * 300,
        "./a\0b",
        ":",
        "$",
    ),
]
KNOWN: list[tuple[str, Any]] = [
    ("x-ikoma", {"service": ["web"], "port": 80}),
    ("x-ikoma", {"database": [["web"]]}),
    ("x-ikoma", {"database": [{"a": "b"}]}),
    ("x-ikoma", {"port": "9" * 5000}),
    ("services.web.env_file", ["a\0b"]),
    ("services.web.env_file", ["x" * 300]),
    ("include", ["x" * 300]),
    ("services.web.build", {"context": "src", "dockerfile": "x" * 300}),
    ("services.web.build", {"context": "src", "dockerfile": "a\0b"}),
    ("services.web.build", {"context": "x" * 300}),
    ("services.web.volumes", [f"./{'x' * 300}:/m"]),
    ("services.web.volumes", ["./a\0b:/m"]),
    ("services", {"x" * 250: {"image": "IMAGE"}}),
]
PASSING: list[tuple[str, Any]] = [
    ("services.web.healthcheck", {"test": ["CMD", "wget", f"http://localhost:{'9' * 5000}/"]}),
    ("services.web.healthcheck", {"test": ["CMD", "wget", "http://localhost:99999/"]}),
]
PLACES = [
    *("include", "name", "x-ikoma", "x-ikoma.service", "x-ikoma.port", "x-ikoma.domains", "x-ikoma.data", "configs"),
    *("configs.a", "configs.a.file", "volumes", "volumes.v.name", "networks.n.name", "services", "services.web"),
    *(f"services.web.{key}" for key in ("image", "env_file", "label_file", "extends", "volumes", "ports", "build")),
    *(f"services.web.{key}" for key in ("build.context", "build.dockerfile", "build.args", "healthcheck.test")),
    *(f"services.web.{key}" for key in ("environment", "command", "depends_on", "secrets", "mem_limit", "deploy")),
]


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Server]:
    server.do("apps.init", {"appName": NAME, "template": "node"})
    yield server


def findings(server: Server, where: str, value: Any) -> list[dict[str, Any]]:
    document: dict[str, Any] = {"services": {"web": {"image": "IMAGE"}}}
    here: dict[str, Any] = document
    *folders, last = where.split(".")
    for folder in folders:
        here = here.setdefault(folder, {})
    here[last] = value
    content = json.dumps(document).replace("IMAGE", busybox_image())
    server.do("files.write", {"appName": NAME, "path": "docker-compose.yml", "content": content})
    found = server.do("apps.validate", {"appName": NAME})
    errors: list[dict[str, Any]] = found["errors"]
    assert not any("goroutine" in error["problem"] for error in errors)
    return errors


@pytest.mark.parametrize(("where", "value"), KNOWN, ids=range(len(KNOWN)))
def test_what_cannot_be_is_found(place: Server, where: str, value: Any) -> None:
    assert findings(place, where, value)


@pytest.mark.parametrize(("where", "value"), PASSING, ids=range(len(PASSING)))
def test_no_port_is_taken_from_an_address_that_is_none(place: Server, where: str, value: Any) -> None:
    assert findings(place, where, value) == []


def test_the_name_of_the_project_is_a_variable_that_is_set(place: Server) -> None:
    assert findings(place, "services.web.environment", {"A": "${COMPOSE_PROJECT_NAME}"}) == []
    assert findings(place, "services.web.image", "busybox:${COMPOSE_PROJECT}")


def test_odd_values_at_every_place_are_answered(place: Server) -> None:
    choice = random.Random(1)
    for where in PLACES:
        for value in choice.sample(ODD, 3):
            findings(place, where, value)
