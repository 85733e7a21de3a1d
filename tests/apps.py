"""Small apps for tests, as a person would write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.support import Server

COMPOSE = """services:
  web:
    image: {image}
    command: {command}
    volumes: ["./src:/www:ro"]
    env_file: [{{path: .env, required: false}}]
    healthcheck:
      test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/ok"]
      interval: 1s
      retries: 3
    restart: unless-stopped
    init: true
x-ikoma:
  service: web
  port: 3000
  health: {health}
"""

SERVE = '["httpd", "-f", "-p", "3000", "-h", "/www"]'


def make_app(server: Server, name: str, *, command: str = SERVE, health: str = "/ok", compose: str = COMPOSE) -> Path:
    """An app's folder with a little web server in it; not deployed yet."""
    server.do("apps.init", {"appName": name})
    remember(server, name)
    folder = server.apps / name
    (folder / "src" / "ok").write_text("ok\n")
    (folder / "docker-compose.yml").write_text(compose.format(image=busybox_image(), command=command, health=health))
    return folder


_made: list[tuple[Server, str]] = []


def remember(server: Server, name: str) -> None:
    """Have an app stopped at the end of the test that makes it."""
    _made.append((server, name))


@pytest.fixture(autouse=True)
def stopped_after_the_test() -> Iterator[None]:
    """An app that a test has made for itself stops with it: its healthchecks would cost all that follow time.

    Fixtures of a whole file come before this one, so that their apps go on.
    """
    before = len(_made)
    yield
    for server, name in _made[before:]:
        runs = server.process is not None and server.process.poll() is None
        if runs and (server.apps / name / ".ikoma" / "serving.json").exists():
            server.call("deploy.down", {"appName": name})
    del _made[before:]
