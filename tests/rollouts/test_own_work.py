"""IKOMA's own work is in nobody's way: it is an operation that can be seen, and calls wait for its end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.witness import Background, eventually
from tests.rollouts.live import LiveApp, compose, new_app
from tests.rollouts.mortal import COMMAND
from tests.support import Server
from tests.support import server as started_server

SLOW_TO_END = compose(
    command=f"[sh, -c, {shlex.quote('trap : TERM; httpd -p 3000 -h /www; while true; do sleep 1; done')}]",
    more="stop_grace_period: 30s",
    watch="1m",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


def own_work(app: LiveApp) -> list[dict[str, Any]]:
    listed = app.server.do("operations.list", {"appName": app.name})["operations"]
    return [item for item in listed if item["capability"] == "ikoma.settle" and item["state"] == "running"]


def cut_off(app: LiveApp) -> tuple[str, dict[str, Any]]:
    """Deploy twice and kill the server when what was replaced has still to end: (first release, IKOMA's own work)."""
    server = app.server
    first = app.deploy("first")
    app.write("second")
    (Path(server.env["IKOMA_STATE"]) / "kill-at").write_text("retired")
    Background(server, "deploy.up", {"appName": app.name}).wait()
    assert server.process is not None
    server.process.wait(60)
    server.start()
    eventually(lambda: own_work(app), "what was cut off is being finished")
    return first, own_work(app)[0]


def told_to_wait(server: Server, operation: str, own: str) -> bool:
    steps = server.do("operations.get", {"operationId": operation})["steps"]
    return any(step["name"].startswith(f"waiting for ikoma.settle to end (operation {own})") for step in steps)


def test_a_rollback_waits_for_what_the_reconciler_finishes_and_is_told_for_what(server: Server) -> None:
    app = new_app(server, "live-own-work", compose_file=SLOW_TO_END)
    first, own = cut_off(app)
    rollback = Background(server, "deploy.rollback", {"appName": app.name})
    shown = server.do("operations.get", {"operationId": own["id"]})
    assert (shown["state"], shown["caller"], shown["appName"]) == ("running", "ikoma", app.name)
    assert app.do("apps.status")["operation"]["id"] == own["id"]
    back = rollback.wait()
    assert back is not None
    assert back.result["details"]["release"] == first
    assert server.do("operations.wait", {"operationId": own["id"], "seconds": 0})["state"] == "succeeded"
    assert told_to_wait(server, back.body["requestId"], own["id"])


def test_a_backup_waits_too_and_nobody_cancels_what_would_begin_again(server: Server) -> None:
    app = new_app(server, "live-own-lasting", compose_file=SLOW_TO_END)
    app.do("db.create")
    _, own = cut_off(app)
    assert server.call("operations.cancel", {"operationId": own["id"]}).code == "out_of_scope"
    saved = server.call("db.backup", {"appName": app.name})
    assert saved.status == 200, saved.body
    assert told_to_wait(server, saved.body["requestId"], own["id"])
