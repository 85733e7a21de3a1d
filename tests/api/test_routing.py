"""Which service of a compose file answers an app's requests, and what becomes of its host ports."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.images import busybox_image
from tests.support import Server, free_port

DATABASE = "clickhouse/clickhouse-server:24.8"
"""A stand-in: what counts is its name."""


@pytest.fixture(scope="module")
def database_image() -> Iterator[str]:
    subprocess.run(["docker", "tag", busybox_image(), DATABASE], check=True)
    yield DATABASE
    subprocess.run(["docker", "rmi", DATABASE], check=True, capture_output=True)


def serving(text: str, port: int, more: str = "", image: str = "") -> str:
    """A service that answers every path with a text."""
    script = f"mkdir -p /www && echo {text} > /www/index.html && exec httpd -f -p {port} -h /www"
    return f"    image: {image or busybox_image()}\n    init: true\n    entrypoint: [sh, -c, '{script}']\n{more}"


def write(server: Server, name: str, compose: str) -> None:
    server.do("apps.init", {"appName": name})
    (server.apps / name / "docker-compose.yml").write_text(compose)


def deployed(server: Server, name: str) -> dict[str, Any]:
    return server.do("deploy.up", {"appName": name, "timeout": 60})["details"]


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode().strip()


def published(name: str) -> list[dict[str, Any]]:
    """The host ports of all containers of an app."""
    argv = ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={name}"]
    ids = subprocess.check_output(argv, text=True).split()
    shown = json.loads(subprocess.check_output(["docker", "inspect", *ids]))
    return [item["HostConfig"]["PortBindings"] for item in shown if item["HostConfig"]["PortBindings"]]


def problems(server: Server, name: str, kind: str = "warnings") -> list[str]:
    return [f"{item['problem']} {item['fix']}" for item in server.do("apps.validate", {"appName": name})[kind]]


def test_people_get_the_published_service_and_not_the_database_that_comes_first(
    server: Server, database_image: str
) -> None:
    check = "    healthcheck: {test: 'wget -q --spider http://localhost:8123/', interval: 1s}\n"
    own, beyond = free_port(), free_port()
    write(
        server,
        "chosen",
        "services:\n"
        f"  adb:\n{serving('database', 8123, check, database_image)}    ports: ['127.0.0.1:{own}:8123']\n"
        f"  web:\n{serving('shop', 3000)}    ports: ['{beyond}:3000']\n",
    )
    assert not any("routed" in problem for problem in problems(server, "chosen"))
    planned = server.do("deploy.plan", {"appName": "chosen"})["route"]
    assert planned == "web, port 3000: it is the one service with a port published beyond this machine"
    urls = deployed(server, "chosen")["urls"]
    assert fetched(urls[0]) == "shop"
    server.do("domain.add", {"appName": "chosen", "domain": "chosen.example.com"})
    proxy = f"http://127.0.0.1:{server.env['PROXY_HTTP_PORT']}/"
    assert fetched_as(proxy, "chosen.example.com") == "shop"
    checks = {item["name"]: item for item in server.do("artifact.verify_release", {"appName": "chosen"})["checks"]}
    assert checks["route"]["details"].startswith("Requests go to web, port 3000")
    assert checks["healthPath"]["passed"]


def fetched_as(url: str, host: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=60) as answer:
        return answer.read().decode().strip()


def test_where_two_could_be_meant_nothing_is_public_until_two_lines_say_which(server: Server) -> None:
    services = f"services:\n  api:\n{serving('api', 8000)}    ports: ['{free_port()}:8000']\n"
    services += f"  web:\n{serving('web', 3000)}    ports: ['{free_port()}:3000']\n"
    write(server, "doubt", services)
    [warning] = [item for item in problems(server, "doubt") if "routed" in item]
    assert "web (port 3000) and api (port 8000) could each be the one" in warning
    assert "`service: web` and `port: 3000`" in warning
    details = deployed(server, "doubt")
    assert details["urls"] == []
    assert any("Nothing is routed" in item for item in details["warnings"])
    refused = server.call("domain.add", {"appName": "doubt", "domain": "doubt.example.com"})
    assert refused.code == "no_web_service"
    assert "`service: web` and `port: 3000`" in str(refused.body)
    write(server, "doubt", f"{services}x-ikoma:\n  service: web\n  port: 3000\n")
    # Nothing at /health there: it is nobody's path, so any answer shows that the service answers.
    assert fetched(deployed(server, "doubt")["urls"][0]) == "web"
    server.do("domain.add", {"appName": "doubt", "domain": "doubt.example.com"})


def test_ports_of_the_routed_service_that_cannot_be_had_are_not_published(server: Server) -> None:
    with closing(socket.socket()) as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        taken, free = other.getsockname()[1], free_port()
        ports = f"['80:3000', '443:3443', '{taken}:3000', '{server.port}:3000', '{free}:3000']"
        write(server, "low", f"services:\n  web:\n{serving('low', 3000)}    ports: {ports}\n")
        assert problems(server, "low", "errors") == []
        warned = [item for item in problems(server, "low") if "is not published" in item]
        assert [item.split()[2] for item in warned] == ["80", "443", str(taken), str(server.port)]
        details = deployed(server, "low")
        assert fetched(details["urls"][0]) == "low"
        assert published("low") == [{"3000/tcp": [{"HostIp": "", "HostPort": str(free)}]}]
        assert fetched(f"http://127.0.0.1:{free}") == "low"
        verified = server.do("artifact.verify_release", {"appName": "low"})
        assert verified["verified"], verified


@pytest.mark.parametrize(
    ("ports", "rule"),
    [("['25:3000']", "low-port"), ("['80:3000']", "low-port"), ("['PLATFORM:3000']", "platform-port")],
)
def test_such_ports_of_any_other_service_stay_refused(server: Server, ports: str, rule: str) -> None:
    ports = ports.replace("PLATFORM", str(server.port))
    other = f"  other:\n{serving('other', 3000)}    ports: {ports}\n"
    web = f"  web:\n{serving('web', 3000)}x-ikoma: {{service: web, port: 3000}}\n"
    write(server, "neighbour", f"services:\n{other}{web}")
    assert [item["rule"] for item in server.do("apps.validate", {"appName": "neighbour"})["errors"]] == [rule]


def test_a_low_port_that_leads_past_the_proxy_stays_refused(server: Server) -> None:
    block = "x-ikoma: {service: web, port: 3000}\n"
    write(server, "past", f"services:\n  web:\n{serving('web', 3000)}    ports: ['22:22', '53:3000/udp']\n{block}")
    assert [item["rule"] for item in server.do("apps.validate", {"appName": "past"})["errors"]] == ["low-port"] * 2


def test_an_app_that_answers_no_http_can_say_so(server: Server) -> None:
    compose = f"services:\n  worker:\n    image: {busybox_image()}\n    command: [sleep, '1000']\n"
    write(server, "silent", compose)
    assert any("no service is seen to answer HTTP" in item for item in problems(server, "silent"))
    write(server, "silent", f"{compose}x-ikoma: {{service: false}}\n")
    assert problems(server, "silent") == []


def test_a_service_that_never_listens_where_it_publishes_is_named(server: Server) -> None:
    asleep = f"    image: {busybox_image()}\n    init: true\n    command: [sleep, '1000']\n"
    write(server, "deaf", f"services:\n  web:\n{asleep}    ports: ['{free_port()}:3000']\n")
    failed = server.call("deploy.up", {"appName": "deaf", "timeout": 5})
    assert failed.code == "deploy_failed"
    assert "Nothing takes connections at port 3000 of web." in str(failed.body)
    assert "x-ikoma" in str(failed.body)


def test_a_low_port_that_an_admin_allows_is_published(server: Server) -> None:
    write(server, "allowed", f"services:\n  web:\n{serving('allowed', 3000)}    ports: ['81:3000']\n")
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    server.do("policy.waive", {"appName": "allowed", "rule": "low-port", "reason": "a test", "expires": ends})
    assert not any("is not published" in item for item in problems(server, "allowed"))
    assert server.do("deploy.plan", {"appName": "allowed"})["ports"] == ["web: 81 → 3000"]
