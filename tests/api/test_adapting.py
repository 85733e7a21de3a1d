"""Compose files that bring a reverse proxy of their own, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.images import busybox_image
from tests.support import Server

WEB = "mkdir -p /www && echo shop > /www/index.html && exec httpd -f -p 4000 -h /www"
COMPOSE = f"""# My shop
services:
  caddy:          # HTTPS for all of it
    image: caddy:2
    ports: ["80:80", "443:443", "443:443/udp"]
    volumes: ["./Caddyfile:/etc/caddy/Caddyfile:ro"]
    depends_on: [web]
  # the shop itself
  web:
    image: {busybox_image()}
    init: true
    expose: ["4000"]
    entrypoint: [sh, -c, "{WEB}"]   # one process
"""
CADDYFILE = "fronted.example.com {\n  reverse_proxy web:4000\n}\n"


def write(server: Server, name: str, compose: str = COMPOSE) -> Path:
    server.do("apps.init", {"appName": name})
    folder = server.apps / name
    (folder / "docker-compose.yml").write_text(compose)
    (folder / "Caddyfile").write_text(CADDYFILE)
    return folder / "docker-compose.yml"


def errors(server: Server, name: str) -> list[dict[str, Any]]:
    """List what is wrong, besides that no image can be had here."""
    found = server.do("apps.validate", {"appName": name})["errors"]
    return [item for item in found if "The image" not in item["problem"]]


def test_a_proxy_of_its_own_is_left_out_once_somebody_has_seen_what_that_means(server: Server) -> None:
    file = write(server, "fronted")
    [error] = errors(server, "fronted")
    assert error["line"] == 3
    assert "caddy is a reverse proxy of the app's own (Caddy)" in error["problem"]
    assert "Leave out caddy" in error["fix"]
    assert "`service: web` and `port: 4000` and `domains: [fronted.example.com]`" in error["fix"]

    shown = server.do("apps.adapt", {"appName": "fronted"})
    assert (shown["written"], shown["left"]) == (False, [])
    assert file.read_text() == COMPOSE
    [changed] = shown["files"]
    assert "-    image: caddy:2" in changed["diff"]
    assert "+  service: web" in changed["diff"]

    file.write_text(COMPOSE + "# one line more\n")
    assert server.call("apps.adapt", {"appName": "fronted", "write": shown["sha256"]}).code == "file_changed"
    file.write_text(COMPOSE)
    assert server.do("apps.adapt", {"appName": "fronted", "write": shown["sha256"]})["written"]
    begin, end = COMPOSE.index("  caddy:"), COMPOSE.index("  # the shop")
    block = "\nx-ikoma:\n  service: web\n  port: 4000\n  domains: [fronted.example.com]\n"
    assert file.read_text() == COMPOSE[:begin] + COMPOSE[end:] + block
    deployed = server.do("deploy.up", {"appName": "fronted", "timeout": 60})
    assert any("fronted.example.com" in url for url in deployed["details"]["urls"])
    assert server.do("apps.adapt", {"appName": "fronted"})["files"] == []

    server.do("files.restore", {"appName": "fronted", "path": "docker-compose.yml"})
    assert file.read_text() == COMPOSE
    server.do("apps.remove", {"appName": "fronted"})  # or it keeps the name from the other tests of this server


def test_a_proxy_of_several_services_is_kept_as_the_one_that_answers(server: Server) -> None:
    api = f"  api:\n    image: {busybox_image()}\n    command: [sleep, infinity]\n    init: true\n"
    file = write(server, "several", COMPOSE + api)
    handled = "fronted.example.com {\n  reverse_proxy /api/* api:8000\n  reverse_proxy web:4000\n}\n"
    (file.parent / "Caddyfile").write_text(handled)
    [error] = errors(server, "several")
    assert "it leads to api and web" in error["fix"]
    shown = server.do("apps.adapt", {"appName": "several"})
    server.do("apps.adapt", {"appName": "several", "write": shown["sha256"]})
    assert errors(server, "several") == []
    warnings = server.do("apps.validate", {"appName": "several"})["warnings"]
    unpublished = [item for item in warnings if "is not published" in item["problem"]]
    assert len(unpublished) == 3


def test_the_service_that_answers_can_be_chosen(server: Server) -> None:
    sleeps = f"{{image: '{busybox_image()}', command: [sleep, infinity], init: true"
    compose = f"services:\n  a: {sleeps}, ports: ['8000']}}\n  b: {sleeps}, ports: ['3000']}}\n"
    file = write(server, "either", compose)
    assert server.do("apps.adapt", {"appName": "either"})["files"] == []
    shown = server.do("apps.adapt", {"appName": "either", "service": "b"})
    server.do("apps.adapt", {"appName": "either", "service": "b", "write": shown["sha256"]})
    assert file.read_text() == f"{compose}\nx-ikoma:\n  service: b\n  port: 3000\n"
    assert server.call("apps.adapt", {"appName": "either", "service": "c"}).code == "service_not_found"


def test_an_app_begins_with_somebodys_own_compose_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "theirs.yml"
    file.write_text(COMPOSE)
    done = server.cli("init", "begun", "--from", str(file))
    assert done.returncode == 0, done.stderr
    assert "caddy is left out." in done.stdout
    written = (server.apps / "begun" / "docker-compose.yml").read_text()
    assert "caddy:2" not in written
    assert "# the shop itself" in written
    assert written.endswith("\nx-ikoma:\n  service: web\n  port: 4000\n")
    assert file.read_text() == COMPOSE
    assert not (server.apps / "begun" / "config" / "Dockerfile").exists()
    again = server.cli("init", "begun", "--from", str(file))
    assert again.returncode == 1
    assert "begun has a compose file." in again.stderr
    missing = server.cli("init", "begun-too", "--from", str(tmp_path / "none.yml"))
    assert missing.returncode == 2
    assert not (server.apps / "begun-too").exists()


@pytest.mark.parametrize("compose", ["services: [", "services:\n  web: {privileged: true, image: a}\n", "", "- 1\n"])
def test_a_file_that_is_wrong_is_taken_as_it_is_and_says_what_is_wrong(server: Server, compose: str) -> None:
    name = f"wrong-{len(compose)}"
    made = server.do("apps.init", {"appName": name, "compose": compose})
    assert (server.apps / name / "docker-compose.yml").read_text() == compose
    assert made["details"]["changes"] == []
    assert made["details"]["left"] != []


def test_a_web_server_that_stays_is_told_to_redirect_nobody_before_and_after_it_is_named(server: Server) -> None:
    text = (
        "services:\n  front:\n    image: nginx:1\n    ports: ['80:80', '443:443']\n"
        "    volumes: ['./site.conf:/etc/nginx/conf.d/default.conf:ro']\n    depends_on: [php]\n"
        f"  php:\n    image: {busybox_image()}\n    expose: ['9000']\n"
    )
    file = write(server, "round", text)
    site = file.with_name("site.conf")
    site.write_text(
        "server { listen 80; return 301 https://$host$request_uri; }\n"
        "server { listen 443 ssl; root /www; location / { fastcgi_pass php:9000; } }\n"
    )
    shown = server.do("apps.adapt", {"appName": "round"})
    assert any("redirect nobody to HTTPS" in item for item in shown["left"])
    server.do("apps.adapt", {"appName": "round", "write": shown["sha256"]})
    report = server.do("apps.validate", {"appName": "round"})
    assert any("they go round" in item["problem"] for item in report["warnings"])
    site.write_text("server { listen 80; root /www; location / { fastcgi_pass php:9000; } }\n")
    report = server.do("apps.validate", {"appName": "round"})
    assert not any("they go round" in item["problem"] for item in report["warnings"])
