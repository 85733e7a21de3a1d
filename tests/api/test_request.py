"""apps.request: an app as its visitors see it, and nothing but that app, whatever is asked and whatever it answers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.mcp.client import over_http, refused, talk
from tests.support import Server, free_port
from tests.support import server as started_server

APP, SECURE, OPEN = "visited", "visited-secure", "visited-open"
DOMAIN = "visited.example.com"
COMPOSE = """services:
  web:
    image: python:3.13-slim
    command: [python3, -u, /www/odd_site.py]
    volumes: ["./src:/www:ro"]
    init: true
x-ikoma:
  service: web
  port: 3000
  health: false
  watch: 0s
  drain: 0s
  domains: [DOMAIN]
  redirects: {{www.DOMAIN: DOMAIN}}
"""


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[str]:
    folder = make_app(server, APP, compose=COMPOSE.replace("DOMAIN", DOMAIN))
    shutil.copy(Path(__file__).with_name("odd_site.py"), folder / "src")
    server.do("env.set", {"appName": APP, "name": "SHOP_TOKEN", "value": "tok-9f8e7d6c5b4a39281706"})
    server.do("deploy.up", {"appName": APP})
    yield APP
    server.do("apps.remove", {"appName": APP})


def ask(server: Server, path: str = "/", **more: Any) -> Any:
    return server.do("apps.request", {"appName": APP, "path": path, **more}, role="observer")


def refusal(server: Server, **arguments: Any) -> tuple[str, int]:
    answer = server.call("apps.request", {"appName": APP, **arguments}, role="observer")
    return answer.code, answer.status


def test_an_observer_sees_what_visitors_see(server: Server, app: str) -> None:
    found = ask(server, "/shop?q=1&r=a%20b")
    assert (found["status"], found["encoding"], found["truncated"]) == (200, "utf-8", False)
    assert found["url"] == f"http://{DOMAIN}:{server.env['PROXY_HTTP_PORT']}/shop?q=1&r=a%20b"
    assert found["headers"]["content-type"] == "text/plain"
    line, *headers = found["body"].splitlines()
    assert line == "GET /shop?q=1&r=a%20b HTTP/1.1"
    assert f"Host: {DOMAIN}:{server.env['PROXY_HTTP_PORT']}" in headers
    assert not any(header.lower().startswith("cookie") for header in headers)
    assert found["durationMs"] < 20_000
    assert found["size"] == len(found["body"].encode())


def test_it_is_asked_by_any_of_its_own_names_and_by_no_other(server: Server, app: str) -> None:
    assert f"Host: {DOMAIN}" in ask(server, domain=f"{DOMAIN.upper()}.")["body"]
    local = ask(server, domain=f"{APP}.localhost")
    assert f"Host: {APP}.localhost" in local["body"]
    redirected = ask(server, "/a?b=c", domain=f"www.{DOMAIN}")
    assert (redirected["status"], redirected["body"]) == (308, "")
    assert redirected["headers"]["location"].endswith("/a?b=c")
    for other in ("example.com", "127.0.0.1", "other.localhost", "a@b", "x\r\ny", ""):
        assert refusal(server, domain=other) == ("domain_not_found", 404), other


@pytest.mark.parametrize(
    "path",
    [
        *("http://169.254.169.254/", "https:/x", "@169.254.169.254/", "\\\\host", "x", "", "*", "//" + "x" * 3000),
        *("/a\r\nX-Evil: 1", "/a\nb", "/a#b", "/\0", "/\x7f", "/\u2028"),
    ],
)
def test_what_is_no_path_is_refused(server: Server, app: str, path: str) -> None:
    assert refusal(server, path=path) == ("invalid_arguments", 422)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("//169.254.169.254/x", "//169.254.169.254/x"),
        ("/@169.254.169.254/x", "/@169.254.169.254/x"),
        ("/../../etc/passwd", "/../../etc/passwd"),
        ("/%2e%2e/%0d%0aX-Evil:%201", "/%2e%2e/%0d%0aX-Evil:%201"),
        ("/a b", "/a%20b"),
        ("/grün", "/gr%C3%BCn"),
        ("/a?u=http://example.com/&v=[1]", "/a?u=http://example.com/&v=[1]"),
    ],
)
def test_an_odd_path_reaches_the_app_and_nobody_else(server: Server, app: str, path: str, asked: str) -> None:
    found = ask(server, path)
    assert found["body"].splitlines()[0] == f"GET {asked} HTTP/1.1"
    assert "X-Evil: 1" not in found["body"].splitlines()


def test_a_redirect_is_shown_and_not_followed(server: Server, app: str) -> None:
    found = ask(server, "/redirect")
    assert (found["status"], found["body"]) == (302, "")
    assert found["headers"]["location"] == "http://169.254.169.254/latest/meta-data/"


def test_cookies_are_shown_and_never_sent(server: Server, app: str) -> None:
    found = ask(server, "/cookies")
    assert found["headers"]["set-cookie"] == "a=1; Path=/\nb=2"
    assert len(found["headers"]) <= 100
    assert "a=1" not in ask(server)["body"]


def test_a_body_without_end_is_read_up_to_the_limit(server: Server, app: str) -> None:
    found = ask(server, "/endless")
    assert (found["size"], found["truncated"]) == (65_536, True)
    assert ask(server, "/endless", limit=10)["body"] == "more and m"
    assert len(ask(server, "/endless", limit=1_048_576)["body"]) == 1_048_576
    for limit in (0, 1_048_577, -1, "many"):
        assert refusal(server, path="/endless", limit=limit) == ("invalid_arguments", 422)


def test_a_slow_body_is_told_as_far_as_it_came_and_silence_has_an_end(server: Server, app: str) -> None:
    began = time.monotonic()
    found = ask(server, "/drip", timeout=4)
    assert found["truncated"] is True
    assert found["body"].startswith("data: x\n\n")
    assert refusal(server, path="/silent", timeout=1) == ("answer_timeout", 504)
    assert time.monotonic() - began < 120  # it would be silent for an hour


def test_what_is_packed_stays_packed(server: Server, app: str) -> None:
    found = ask(server, "/bomb", limit=1_048_576)
    assert (found["encoding"], found["body"]) == ("binary", "")
    assert found["size"] < 100_000
    assert found["headers"]["content-encoding"] == "gzip"


def test_a_character_is_not_cut_in_two(server: Server, app: str) -> None:
    found = ask(server, "/letters", limit=101)
    assert (found["body"], found["truncated"]) == ("é" * 50, True)


def test_what_breaks_off_is_said_to(server: Server, app: str) -> None:
    found = ask(server, "/cut")
    assert (found["body"], found["truncated"]) == ("the first part", True)
    assert ask(server, "/garbage")["status"] == 502  # the proxy's page


def test_a_head_has_no_body(server: Server, app: str) -> None:
    found = ask(server, "/letters", method="HEAD")
    assert (found["status"], found["body"], found["headers"]["content-length"]) == (200, "", "2000")
    for method in ("POST", "get", "CONNECT"):
        assert refusal(server, method=method) == ("invalid_arguments", 422)


def test_a_secret_in_an_answer_is_hidden(server: Server, app: str) -> None:
    assert "tok-9f8e" not in ask(server, "/x?tok-9f8e7d6c5b4a39281706")["body"]


def test_maintenance_and_an_app_that_is_down_are_seen_as_visitors_see_them(server: Server, app: str) -> None:
    server.do("apps.maintenance", {"appName": APP, "on": True})
    assert (ask(server)["status"], "Back soon" in ask(server)["body"]) == (503, True)
    server.do("apps.maintenance", {"appName": APP, "on": False})
    server.do("deploy.down", {"appName": APP})
    found = ask(server)
    assert (found["status"], found["headers"]["retry-after"]) == (503, "30")
    assert "Out of service" in found["body"]
    server.do("deploy.restart", {"appName": APP})
    assert ask(server)["status"] == 200


def test_other_keys_and_what_does_not_serve(server: Server, app: str) -> None:
    made = server.do("keys.create", {"name": "visits another", "role": "observer", "apps": ["other-*"]})
    refused = server.call("apps.request", {"appName": APP}, key=made["key"])
    assert (refused.status, refused.code) == (403, "out_of_scope")
    server.do("keys.revoke", {"id": made["id"]})
    make_app(server, f"{APP}-not")
    refused = server.call("apps.request", {"appName": f"{APP}-not"})
    assert (refused.status, refused.code) == (409, "not_deployed")
    server.do("apps.remove", {"appName": f"{APP}-not"})


def test_a_model_gets_the_answer_marked(server: Server, app: str) -> None:
    async def conversation(client: Any) -> None:
        result = await client.call_tool("apps_request", {"appName": APP, "path": "/redirect"})
        text = result.content[0].text
        assert "302" in text
        assert "<untrusted-" in text.partition("169.254.169.254")[0]
        wrong = await refused(client, "apps_request", appName=APP, path="http://169.254.169.254/")
        assert wrong["code"] == "invalid_arguments"

    talk(over_http(server, role="observer"), conversation)


def test_the_command_prints_the_answer(server: Server, app: str) -> None:
    shown = server.cli("request", APP, "/letters", "--limit", "20")
    assert shown.returncode == 0, shown.stderr
    assert "200" in shown.stdout
    assert "é" * 10 in shown.stdout
    whole = json.loads(server.cli("request", APP, "/redirect", "--json").stdout)
    assert whole["status"] == 302


def test_with_https_a_name_without_a_certificate_says_so_and_one_with_it_is_asked_encrypted() -> None:
    with started_server(PROXY_HTTPS_PORT=str(free_port()), PROXY_TLS="internal") as server:
        folder = make_app(server, SECURE, compose=COMPOSE.replace("DOMAIN", DOMAIN))
        shutil.copy(Path(__file__).with_name("odd_site.py"), folder / "src")
        server.do("deploy.up", {"appName": SECURE})
        deadline = time.monotonic() + 90
        while (
            answer := server.call("apps.request", {"appName": SECURE})
        ).status == 409 and time.monotonic() < deadline:
            assert answer.code == "certificate_missing"
            time.sleep(0.2)
        assert answer.result["url"] == f"https://{DOMAIN}:{server.env['PROXY_HTTPS_PORT']}/"
        assert "X-Forwarded-Proto: https" in answer.result["body"]
        plain = server.do("apps.request", {"appName": SECURE, "domain": f"{SECURE}.localhost"})
        assert plain["url"].startswith("http://")


def test_an_app_does_not_take_it_for_a_visit_from_its_own_machine() -> None:
    with started_server(PROXY_HOST="") as server:
        folder = make_app(server, OPEN, compose=COMPOSE.replace("DOMAIN", DOMAIN))
        shutil.copy(Path(__file__).with_name("odd_site.py"), folder / "src")
        server.do("deploy.up", {"appName": OPEN})
        body = server.do("apps.request", {"appName": OPEN})["body"]
        assert "X-Forwarded-For: " in body
        assert "X-Forwarded-For: 127." not in body


def test_where_no_public_listener_is_up_the_app_is_asked_at_its_own_port() -> None:
    with started_server(PROXY_HTTP_PORT="0") as server:
        folder = make_app(server, OPEN, compose=COMPOSE.replace("DOMAIN", DOMAIN))
        shutil.copy(Path(__file__).with_name("odd_site.py"), folder / "src")
        server.do("deploy.up", {"appName": OPEN})
        found = server.do("apps.request", {"appName": OPEN})
        assert found["url"].startswith("http://127.0.0.1:2")
        assert f"Host: {DOMAIN}" in found["body"].splitlines()
