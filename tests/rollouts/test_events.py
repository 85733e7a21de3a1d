"""Events of an app: each deploy that fails, each transition of its health, and each release that is left."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.rollouts.live_app import LiveApp, compose, docker, inspected, new_app
from tests.rollouts.test_watching import CHECKED, sicken
from tests.support import Server, eventually

MENDED = compose(command="[sh, -c, 'touch /well; httpd -p 3000 -h /www; sleep 1000']").replace(
    'test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/version"]', "test: [CMD, test, -e, /well]"
)


def told(app: LiveApp) -> list[tuple[str, str, str | None, str]]:
    """(kind, severity, capability, message) of each event of an app, as another process reads them."""
    path = Path(app.server.env["IKOMA_STATE"]) / "state.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as state:
        found = "SELECT kind, severity, capability, message FROM events WHERE app = ? ORDER BY number"
        return list(state.execute(found, (app.name,)))


def changes(app: LiveApp) -> list[str]:
    return [message for kind, *_, message in told(app) if kind == "app.health"]


def see_a_change(app: LiveApp) -> None:
    """Have an app fall ill and get well until that is told: the first look at an app tells nothing, and may be late."""
    container = app.serving()[0]
    while not changes(app):
        sicken(container)
        eventually(lambda: inspected(container)["State"]["Health"]["Status"] == "unhealthy", "it is ill")
        time.sleep(2)  # for that look
        docker("exec", container, "touch", "/well")
        eventually(lambda: inspected(container)["State"]["Health"]["Status"] == "healthy", "it is well")
        time.sleep(2)
    well = f"{app.name} was unhealthy and is healthy."
    eventually(lambda: changes(app)[-1] == well, "that it is well again is told")


def test_a_failed_deploy_and_each_change_of_health_are_told_and_nothing_else_is(server: Server) -> None:
    app = new_app(server, "live-told", compose_file=MENDED)
    app.deploy("good")
    assert told(app)[-1][:3] == ("operation.succeeded", "info", "deploy.up")
    see_a_change(app)
    before = len(changes(app))
    sicken(app.serving()[0])
    eventually(lambda: changes(app)[before:] == ["live-told was healthy and is unhealthy."], "that it is ill is told")
    docker("exec", app.running()[0], "touch", "/well")
    eventually(lambda: changes(app)[-1] == "live-told was unhealthy and is healthy.", "and then well again")
    assert len(changes(app)) == before + 2
    app.write("broken", compose(command="[sh, -c, 'sleep 1; exit 3']"))
    assert app.call("deploy.up").code == "deploy_failed"
    failed = [event for event in told(app) if event[0] == "operation.failed"]
    assert [event[1:3] for event in failed] == [("error", "deploy.up")]
    app.do("deploy.down")
    eventually(lambda: changes(app)[-1] == "live-told was healthy and is stopped.", "a stop is told as one")


def test_a_release_that_is_left_is_told_with_its_cause(server: Server) -> None:
    app = new_app(server, "live-told-left", compose_file=CHECKED)
    good = app.deploy("good")
    bad = app.deploy("bad")
    sicken(app.serving()[0])
    eventually(lambda: [event for event in told(app) if event[0] == "app.rolled_back"], "that it was left is told")
    [(_, severity, capability, message)] = [event for event in told(app) if event[0] == "app.rolled_back"]
    assert (severity, capability) == ("error", "deploy.rollback")
    assert message == f"{bad} turned unhealthy (web is unhealthy), and {good} serves again."
