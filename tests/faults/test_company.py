"""Several clients and servers: nobody works on an app that another works on, and nobody who leaves ends the work."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.apps import COMPOSE, make_app
from tests.faults.server_observations import Background, listening, named, postmaster, processes_of
from tests.images import busybox_image
from tests.support import Server, eventually, make_server
from tests.support import server as started_server

SLOW = named("slow")
LONG_START = "[sh, -c, 'until test -e /gate/open; do sleep 0.1; done; exec httpd -f -p 3000 -h /www']"


@pytest.fixture
def slow_app(server: Server) -> Iterator[dict[str, str]]:
    """An app whose deploy ends once its gate is open; not deployed yet."""
    folder = make_app(server, SLOW)
    text = COMPOSE.format(image=busybox_image(), command=LONG_START, health="/ok").replace("retries: 3", "retries: 999")
    text = text.replace('["./src:/www:ro"]', '["./src:/www:ro", "./gate:/gate"]')
    (folder / "docker-compose.yml").write_text(text)
    (folder / "gate").mkdir(exist_ok=True)
    yield {"appName": SLOW}
    open_gate(server)
    server.do("deploy.down", {"appName": SLOW})
    (folder / "gate" / "open").unlink()


def open_gate(server: Server) -> None:
    (server.apps / SLOW / "gate" / "open").touch()


def deploys(server: Server) -> list[dict[str, Any]]:
    """Deploys of the slow app that hold its lock: one that waits for it has no step yet."""
    listed = server.do("operations.list", {"appName": SLOW})["operations"]
    running = [item for item in listed if item["capability"] == "deploy.up" and item["state"] == "running"]
    return [item for item in running if item["step"]]


def neighbour(server: Server, *shared: str) -> Server:
    """Another server, not started, that has these settings in common with the first."""
    return make_server(**{name: server.env[name] for name in shared})


def test_a_client_that_goes_away_does_not_end_its_deploy(server: Server, slow_app: dict[str, str]) -> None:
    body = json.dumps(slow_app).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /execute/deploy.up HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (server.key.encode(), len(body), body)
        )
        eventually(lambda: deploys(server), "the deploy has begun")
        [begun] = deploys(server)
    open_gate(server)

    def audited() -> list[str]:
        return [entry["result"] for entry in server.audit() if entry["requestId"] == begun["id"]]

    eventually(lambda: audited() == ["started", "success"], "the deploy has ended and is audited")
    assert server.do("apps.status", slow_app)["health"] == "healthy"


def test_of_two_deploys_at_once_the_second_is_told_who_works(server: Server, slow_app: dict[str, str]) -> None:
    first = Background(server, "deploy.up", slow_app)
    eventually(lambda: deploys(server), "the first has begun")
    refused = server.call("deploy.up", slow_app)
    open_gate(server)
    assert (refused.status, refused.code) == (409, "app_busy")
    assert "deploy.up (operation " in refused.body["error"]
    answer = first.wait()
    assert answer is not None
    assert answer.result["success"] is True
    assert refused.body["details"]["operationId"] == answer.body["requestId"]


def test_a_short_call_waits_for_another_one_on_its_app(server: Server) -> None:
    """The other one ends here after a moment, as a short one does; one that takes long is not waited for."""
    app = {"appName": "fault-turns"}
    make_app(server, "fault-turns")
    with (server.apps / ".ikoma" / "locks" / "fault-turns.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        short = Background(server, "db.create", app)
        time.sleep(0.5)
        assert short.is_under_way()
    answer = short.wait()
    assert answer is not None
    assert answer.status == 200, answer.body
    with (server.apps / ".ikoma" / "locks" / "fault-turns.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert server.call("db.create", app).code == "app_busy"


@pytest.mark.parametrize("common", [("APPS_ROOT",), ("APPS_ROOT", "IKOMA_HOME", "IKOMA_STATE")], ids=["apps", "all"])
def test_a_lock_holds_across_two_servers(server: Server, slow_app: dict[str, str], common: tuple[str, ...]) -> None:
    second = neighbour(server, *common)
    second.start()
    try:
        deploying = Background(server, "deploy.up", slow_app)
        eventually(lambda: deploys(server), "the deploy has begun")
        refused = second.call("deploy.down", slow_app)
        open_gate(server)
        assert refused.code == "app_busy"
        answer = deploying.wait()
        assert answer is not None
        assert refused.body["details"]["operationId"] == answer.body["requestId"]
        assert second.do("apps.status", slow_app)["dockerRunning"] is True
    finally:  # a proxy of its own ends with it
        assert second.stop(signal.SIGTERM if "IKOMA_STATE" in common else signal.SIGINT) == 0
    assert server.do("platform.check")["healthy"] is True


def test_a_second_server_on_a_state_takes_over_when_the_first_one_ends() -> None:
    with started_server() as first:
        second = neighbour(first, "APPS_ROOT", "IKOMA_HOME", "IKOMA_STATE", "BACKUPS_ROOT", "AUDIT_LOG")
        second.start()
        make_app(second, "fault-heir")
        second.do("db.create", {"appName": "fault-heir"})
        assert first.stop() == 0
        eventually(lambda: second.do("platform.check")["checks"]["postgres"], "PostgreSQL is up again")
        assert second.do("db.status", {"appName": "fault-heir"})["exists"] is True
        assert second.stop() == 0
        assert processes_of(first) == []


@pytest.mark.parametrize("common", [(), ("APPS_ROOT", "IKOMA_HOME", "IKOMA_STATE")], ids=["port", "everything"])
def test_a_second_server_on_a_port_says_so_in_a_sentence(server: Server, common: tuple[str, ...]) -> None:
    before = postmaster(server)
    second = neighbour(server, *common)
    second.env["HTTP_PORT"] = str(server.port)
    ended = second.cli("up", timeout=120)
    assert ended.returncode == 1
    assert f"127.0.0.1:{server.port} is in use" in ended.stderr
    assert "HTTP_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 3
    assert postmaster(server) == before
    assert server.do("platform.check")["healthy"] is True


def test_the_server_listens_on_loopback_and_postgres_where_containers_are(server: Server) -> None:
    assert server.process is not None
    bridge = {item.address for item in psutil.net_if_addrs().get("docker0", []) if item.family == socket.AF_INET}
    assert listening(postmaster(server)) == {"127.0.0.1", *bridge}
    sockets = psutil.Process(server.process.pid).net_connections(kind="inet")
    ours = [item.laddr for item in sockets if item.status == psutil.CONN_LISTEN]
    assert {place.ip for place in ours if place.port == server.port} == {"127.0.0.1"}
    elsewhere = [place for place in ours if place.ip != "127.0.0.1"]  # PostgreSQL's second port, for TLS
    assert {place.ip for place in elsewhere} == bridge
    assert len({place.port for place in elsewhere}) == 1


def test_sigterm_lets_a_deploy_end_first(server: Server, slow_app: dict[str, str]) -> None:
    assert server.process is not None
    deploying = Background(server, "deploy.up", slow_app)
    eventually(lambda: deploys(server), "the deploy has begun")
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.call("db.create", slow_app).status == 503, "it has heard that it is to stop")
    assert deploying.is_under_way()
    open_gate(server)
    assert server.process.wait(timeout=240) == 0
    server.process = None
    answer = deploying.wait()
    assert answer is not None
    assert answer.result["success"] is True
    server.start()


def test_the_unix_socket_is_for_its_owner(server: Server) -> None:
    mode = (Path(server.env["IKOMA_STATE"]) / "ikoma.sock").stat().st_mode
    assert mode & 0o777 == 0o600
