"""The control plane under a name of its own: through the proxy, encrypted, to who has the address and a key."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.apps import COMPOSE, make_app
from tests.mcp.client import do
from tests.support import Server, free_port
from tests.support import server as started_server

NAME = "ikoma.example.internal"
"""No authority of the world signs for it, so this server's own does."""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with started_server(PROXY_HTTPS_PORT=str(free_port()), AUTH_MAX_FAILURES="3") as started:
        yield started


@pytest.fixture
def served(own: Server) -> Server:
    result = own.do("domain.platform", {"domain": NAME})
    assert result["url"] == f"https://{NAME}:{own.env['PROXY_HTTPS_PORT']}"
    return own


def trusting(server: Server) -> ssl.SSLContext:
    """Make a client that was given the certificate of the server's own authority."""
    authority = None
    deadline = time.monotonic() + 60
    while authority is None and time.monotonic() < deadline:  # it signs within moments
        authority = server.do("domain.platform", {})["authority"]
    return ssl.create_default_context(cafile=authority)


def ask(
    server: Server, method: str, path: str, body: Any = None, *, name: str = NAME, timeout: float = 60, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    raw = socket.create_connection(("127.0.0.1", int(server.env["PROXY_HTTPS_PORT"])), timeout=timeout)
    connection = http.client.HTTPSConnection(name)
    connection.sock = trusting(server).wrap_socket(raw, server_hostname=name)
    given = {"X-Api-Key": server.key, "Content-Type": "application/json"}
    given |= {key.replace("_", "-"): value for key, value in headers.items()}
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request(method, path, sent, given)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, read


def test_it_is_off_until_it_is_asked_for(own: Server) -> None:
    assert "domain" not in own.do("domain.platform", {}) or own.do("domain.platform", {})["domain"] is None


def test_a_client_that_trusts_the_authority_calls_over_https_and_is_told_to_stay_there(served: Server) -> None:
    status, headers, body = ask(served, "POST", "/execute/platform.info", {})
    assert (status, json.loads(body)["success"]) == (200, True)
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "via" not in headers
    assert "server" not in headers
    assert ask(served, "GET", "/health")[0] == 200
    status, _, page = ask(served, "GET", "/docs")
    assert status == 200
    assert f"https://{NAME}".encode() in page


def test_plain_http_only_leads_there(served: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(served.env["PROXY_HTTP_PORT"]), timeout=60)
    connection.request("POST", "/execute/platform.info", "{}", {"Host": NAME, "X-Api-Key": served.key})
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.getheader("location") == f"https://{NAME}:{served.env['PROXY_HTTPS_PORT']}/execute/platform.info"


def test_an_mcp_host_needs_the_address_and_a_key(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    known = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return known("127.0.0.1" if host in (NAME, NAME.encode()) else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    address, context = served.do("domain.platform", {})["mcpUrl"], trusting(served)

    async def converse() -> Any:
        headers = {"X-Api-Key": served.key}
        async with (
            httpx2.AsyncClient(headers=headers, verify=context, timeout=60) as http_client,
            Client(streamable_http_client(address, http_client=http_client), cache=None) as client,
        ):
            return await do(client, "platform_info")

    assert asyncio.run(converse())["version"]


def test_wrong_keys_count_against_the_client_not_the_proxy(served: Server) -> None:
    def guess(client: str) -> int:
        return ask(served, "POST", "/execute/platform.info", {}, X_Api_Key="wrong", X_Forwarded_For=client)[0]

    # The proxy names the client itself: a header of the client's own makes it nobody else.
    assert 429 in (guess(f"198.51.100.{number}") for number in range(20))
    entries = [json.loads(line) for line in served.audit_log.read_text().splitlines()]
    assert not any("198.51.100." in json.dumps(entry) for entry in entries)


def test_heads_have_limits_and_pages_of_others_no_way_in(served: Server) -> None:
    assert ask(served, "GET", "/health", Cookie="a" * 60_000)[0] == 431
    assert ask(served, "GET", "/health", Origin="https://evil.example")[0] == 403


def test_the_name_is_kept_over_a_restart_and_calls_wait_for_it(served: Server) -> None:
    assert f"PLATFORM_DOMAIN={NAME}\n" in (served.home / ".env").read_text()
    context = trusting(served)
    served.stop()
    answers: list[int] = []

    def call() -> None:
        raw = socket.create_connection(("127.0.0.1", int(served.env["PROXY_HTTPS_PORT"])), timeout=120)
        connection = http.client.HTTPSConnection(NAME)
        connection.sock = context.wrap_socket(raw, server_hostname=NAME)
        connection.request("GET", "/health")
        answers.append(connection.getresponse().status)
        connection.close()

    waiting = threading.Thread(target=call)
    waiting.start()
    served.start()
    waiting.join(120)
    assert answers == [200]
    assert served.do("domain.platform", {})["domain"] == NAME


def test_a_name_belongs_to_one(served: Server) -> None:
    make_app(served, "lodger", compose=COMPOSE)
    served.do("deploy.up", {"appName": "lodger"})
    try:
        assert served.call("domain.add", {"appName": "lodger", "domain": NAME}).code == "domain_taken"
        served.do("domain.add", {"appName": "lodger", "domain": "shop.example.internal"})
        assert served.call("domain.platform", {"domain": "shop.example.internal"}).code == "domain_taken"
        assert served.do("domain.platform", {})["domain"] == NAME
    finally:
        served.do("apps.remove", {"appName": "lodger"})


def test_it_can_be_ended(served: Server) -> None:
    served.do("domain.platform", {"remove": True})
    assert "PLATFORM_DOMAIN" not in (served.home / ".env").read_text()
    with pytest.raises((ssl.SSLError, OSError)):
        raw = socket.create_connection(("127.0.0.1", int(served.env["PROXY_HTTPS_PORT"])), timeout=60)
        ssl.create_default_context().wrap_socket(raw, server_hostname=NAME)
    assert served.call("domain.platform", {"domain": "x", "remove": True}).code == "invalid_arguments"


def test_it_is_never_served_unencrypted(server: Server) -> None:
    refused = server.call("domain.platform", {"domain": NAME})
    assert (refused.status, refused.code) == (409, "https_off")
    assert "PROXY_HTTPS_PORT" in refused.body["error"]
    assert "PLATFORM_DOMAIN" not in (server.home / ".env").read_text()
