"""How long work is followed on a terminal: its step, and below it the last line of what is built."""

from __future__ import annotations

import secrets

from tests.apps import make_app
from tests.cli.terminal import Terminal
from tests.images import busybox_image
from tests.support import Server

BUILT = """services:
  web:
    build: .
    command: [httpd, -f, -p, "3000", -h, /www]
    init: true
x-ikoma: {{service: web, port: 3000, health: null}}
"""
SLOW_STEP = f"for part in $(seq 5); do echo compiling part $part; sleep 1; done; mkdir -p /www # {secrets.token_hex(4)}"
"""With a word of this run in it: a builder that has done the same step before says nothing of it."""


def test_the_last_line_of_a_build_stands_below_its_step(server: Server) -> None:
    folder = make_app(server, "built", compose=BUILT)
    (folder / "Dockerfile").write_text(f"FROM {busybox_image()}\nRUN {SLOW_STEP}\n")
    with Terminal(["deploy", "built"], server.env) as terminal:
        assert terminal.end() == 0, terminal.screen()
        said, left = terminal.written.decode(), terminal.screen()
    assert "build: step 2 of " in said
    assert "\n  | compiling part" in said.replace("\r\n", "\n")
    assert "compiling part" not in left  # what moved is gone in the end
    assert left.startswith("✓ built serves release")
    steps = [step["name"] for step in server.do("operations.get", {"operationId": deployed(server)})["steps"]]
    assert sum(step.startswith("build | ") for step in steps) <= 1
    server.do("apps.remove", {"appName": "built"})


def test_in_a_pipe_each_step_is_a_line_and_nothing_moves(server: Server) -> None:
    make_app(server, "plainly")
    done = server.cli("deploy", "plainly")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert all(line.startswith("… ") for line in done.stderr.splitlines())
    server.do("apps.remove", {"appName": "plainly"})


def deployed(server: Server) -> str:
    found = server.do("operations.list", {"appName": "built"})["operations"]
    return str(next(item["id"] for item in found if item["capability"] == "deploy.up"))
