"""Ctrl-C, broken pipes, servers that go away: what was begun goes on, and nobody sees a traceback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.apps import COMPOSE, make_app
from tests.cli.terminal import CTRL_C, Terminal
from tests.support import IKOMA, Server
from tests.support import server as started_server

GATED = '["sh", "-c", "until [ -e /data/open ]; do sleep 0.1; done; exec httpd -f -p 3000 -h /www"]'
PATIENT = COMPOSE.replace("retries: 3", "retries: 600").replace(':ro"]', ':ro", "./data:/data"]')
"""Healthy as soon as `open_gate` says so, however long a machine takes until then."""


def open_gate(server: Server, app: str) -> None:
    (server.apps / app / "data" / "open").touch()


def last(server: Server, app: str) -> dict[str, str]:
    return server.do("operations.list", {"appName": app, "limit": 1})["operations"][0]


def test_ctrl_c_leaves_a_deploy_going_on_and_says_how_to_follow_and_cancel_it(server: Server) -> None:
    make_app(server, "left", command=GATED, compose=PATIENT)
    with Terminal(["deploy", "left"], server.env) as terminal:
        terminal.until("web: waiting for health")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        said = terminal.screen()
    identity = last(server, "left")["id"]
    assert f"as operation {identity}" in said
    assert f"ikoma wait {identity}" in said
    assert f"ikoma cancel {identity}" in said
    assert "Traceback" not in said
    open_gate(server, "left")
    followed = server.cli("wait", identity)
    assert followed.returncode == 0, followed.stderr
    assert server.do("apps.health", {"appName": "left"})["health"] == "healthy"
    server.do("apps.remove", {"appName": "left"})


def test_a_second_ctrl_c_cancels_it_and_waits_until_it_has_ended(server: Server) -> None:
    make_app(server, "cut", command=GATED, compose=PATIENT)
    with Terminal(["deploy", "cut"], server.env) as terminal:
        terminal.until("web: waiting for health")
        terminal.type(CTRL_C)
        terminal.until("or Ctrl-C again now")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        said = terminal.screen()
    assert "It is cancelled." in said
    assert "Traceback" not in said
    assert last(server, "cut")["state"] == "cancelled"
    assert server.do("apps.status", {"appName": "cut"})["services"] == []
    server.do("apps.remove", {"appName": "cut"})


def test_ctrl_c_of_a_call_that_waits_for_the_app_finds_its_operation(server: Server) -> None:
    make_app(server, "waits", command=GATED, compose=PATIENT)
    deploying = server.call("deploy.up", {"appName": "waits", "wait": 0})
    assert deploying.status == 202
    with Terminal(["wait", deploying.body["result"]["operationId"]], server.env) as terminal:
        terminal.until("waiting for health")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert "It goes on. To cancel it: ikoma cancel" in terminal.screen()
    open_gate(server, "waits")
    server.do("operations.wait", {"operationId": deploying.body["result"]["operationId"]})
    server.do("apps.remove", {"appName": "waits"})


def test_ctrl_c_says_that_it_is_unknown_whether_it_has_begun_where_the_server_is_silent(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {**server.env, "IKOMA_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "IKOMA_API_KEY": server.key}
        with Terminal(["init", "unknown"], env) as terminal:
            connection, _ = silent.accept()
            assert connection.recv(1).startswith(b"P")
            terminal.type(CTRL_C)
            assert terminal.end() == 130
            said = terminal.screen()
        connection.close()
    assert "The server does not say whether it has begun" in said
    assert "Nothing was begun" not in said


@pytest.mark.parametrize("arguments", [["audit", "--limit", "50"], ["call", "--help"], ["--help"], ["list", "--json"]])
def test_a_reader_that_goes_away_is_no_failure_worth_words(server: Server, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [IKOMA, *arguments], env=server.env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr
    assert process.returncode == 141


@pytest.mark.parametrize(
    "arguments", [["put", "x", "src/a"], ["query", "x"], ["env-set", "x", "A"], ["env-import", "x"], ["remove", "x"]]
)
def test_a_closed_stdin_is_told_in_a_sentence(server: Server, arguments: list[str]) -> None:
    command = ["sh", "-c", '"$0" "$@" <&-', str(IKOMA), *arguments]
    done = subprocess.run(command, env=server.env, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "fault of IKOMA" not in done.stderr


def test_a_server_that_is_killed_in_the_middle_is_told_in_a_sentence() -> None:
    with started_server() as server:
        make_app(server, "killed", command=GATED, compose=PATIENT)
        process = subprocess.Popen(
            [IKOMA, "deploy", "killed"], env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        for line in process.stdout:
            if b"waiting for health" in line:
                break
        server.kill()
        said = process.stdout.read().decode()
        assert process.wait(timeout=90) == 1
        assert "Traceback" not in said
        assert re.search(r"error: The server went away before its answer was whole", said)
        assert "code:  server_gone" in said
        server.start()


def test_sigint_while_nothing_is_changed_ends_with_130(server: Server, tmp_path: Path) -> None:
    make_app(server, "talks", command='["sh", "-c", "echo it has begun; exec httpd -f -p 3000 -h /www"]')
    server.do("deploy.up", {"appName": "talks"})
    with Terminal(["logs", "talks", "--follow"], server.env) as terminal:
        terminal.until("it has begun")
        terminal.type(CTRL_C)
        assert terminal.end() == 0  # Ctrl-C is how following ends
    with Terminal(["put", "talks", "src/typed"], server.env) as terminal:
        terminal.until("Ctrl-D ends it")
        terminal.signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.screen()
    server.do("apps.remove", {"appName": "talks"})
