"""IKOMA's own work is in nobody's way: it is an operation that can be seen, and calls wait for its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server_observations import Background
from tests.rollouts.live_app import LiveApp, compose, docker, new_app
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

UNTIL_ALLOWED = "trap 'until test -e /may-end; do sleep 0.2; done; exit' TERM"
SLOW_TO_END = compose(
    command=f"[sh, -c, {json.dumps(f'{UNTIL_ALLOWED}; httpd -p 3000 -h /www; while true; do sleep 0.2; done')}]",
    more="stop_grace_period: 1m",
    watch="1m",
)
"""Work that was told to end does so once a test lets it."""


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
    server.process.wait(120)
    server.start()
    eventually(lambda: own_work(app), "what was cut off is being finished")
    return first, own_work(app)[0]


def told_to_wait(app: LiveApp, capability: str, own: str) -> bool:
    """Whether the call of this capability waits for IKOMA's own work, or did, and says so."""
    listed = app.server.do("operations.list", {"appName": app.name})["operations"]
    calls = (item["id"] for item in listed if item["capability"] == capability)
    return any(
        step["name"].startswith(f"waiting for ikoma.settle to end (operation {own})")
        for call in calls
        for step in app.server.do("operations.get", {"operationId": call})["steps"]
    )


def let_end(app: LiveApp) -> None:
    for container in app.running():
        docker("exec", container, "touch", "/may-end")


def test_a_rollback_waits_for_what_the_reconciler_finishes_and_is_told_for_what(server: Server) -> None:
    app = new_app(server, "live-own-work", compose_file=SLOW_TO_END)
    first, own = cut_off(app)
    rollback = Background(server, "deploy.rollback", {"appName": app.name})
    shown = server.do("operations.get", {"operationId": own["id"]})
    assert (shown["state"], shown["caller"], shown["appName"]) == ("running", "ikoma", app.name)
    assert app.do("apps.status")["operation"]["id"] == own["id"]
    eventually(lambda: told_to_wait(app, "deploy.rollback", own["id"]), "it waits, and says for what")
    let_end(app)
    back = rollback.wait()
    assert back is not None
    assert back.result["details"]["release"] == first
    assert server.do("operations.wait", {"operationId": own["id"], "seconds": 0})["state"] == "succeeded"


def test_a_backup_waits_too_and_nobody_cancels_what_would_begin_again(server: Server) -> None:
    app = new_app(server, "live-own-lasting", compose_file=SLOW_TO_END)
    app.do("db.create")
    _, own = cut_off(app)
    assert server.call("operations.cancel", {"operationId": own["id"]}).code == "out_of_scope"
    backup = Background(server, "db.backup", {"appName": app.name})
    eventually(lambda: told_to_wait(app, "db.backup", own["id"]), "it waits, and says for what")
    assert backup.is_under_way()
    let_end(app)
    saved = backup.wait()
    assert saved is not None
    assert saved.status == 200, saved.body
