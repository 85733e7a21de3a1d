"""Small apps for tests, as a person would write them."""

from __future__ import annotations

from pathlib import Path

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
    folder = server.apps / name
    (folder / "src" / "ok").write_text("ok\n")
    (folder / "docker-compose.yml").write_text(compose.format(image=busybox_image(), command=command, health=health))
    return folder
