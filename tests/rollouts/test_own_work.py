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


def test_calls_wait_for_what_the_caretaker_finishes_and_are_told_for_what(server: Server) -> None:
    app = new_app(server, "live-own-work", compose_file=SLOW_TO_END)
    app.do("db.create")
    first, own = cut_off(app)
    backup = Background(server, "db.backup", {"appName": app.name})
    shown = server.do("operations.get", {"operationId": own["id"]})
    assert (shown["state"], shown["caller"], shown["appName"]) == ("running", "ikoma", app.name)
    rollback = Background(server, "deploy.rollback", {"appName": app.name})
    saved, back = backup.wait(), rollback.wait()
    assert saved is not None
    assert saved.status == 200, saved.body
    assert back is not None
    if back.status == 409:  # the backup took longer than another caller waits for
        assert back.body["details"]["operationId"] == saved.body["requestId"]
        back = server.call("deploy.rollback", {"appName": app.name})
    assert back.result["details"]["release"] == first
    ended = server.do("operations.wait", {"operationId": own["id"], "seconds": 0})
    assert ended["state"] == "succeeded"
    waited = server.do("operations.get", {"operationId": saved.body["requestId"]})["steps"]
    assert waited[0]["name"].startswith("waiting for ikoma.settle to end (operation "), waited
    assert own["id"] in waited[0]["name"]


def test_nobody_cancels_what_would_begin_again(server: Server) -> None:
    app = new_app(server, "live-own-lasting", compose_file=SLOW_TO_END)
    _, own = cut_off(app)
    assert server.call("operations.cancel", {"operationId": own["id"]}).code == "out_of_scope"
    assert server.do("operations.wait", {"operationId": own["id"], "seconds": 60})["state"] == "succeeded"
