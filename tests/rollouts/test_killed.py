"""`kill -9` of the server at every step of a rollout: afterwards one of the two releases serves, wholly.

No request fails meanwhile, since the proxy goes on; the record says which release serves, and nothing is left behind.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.server_observations import Background, moments, timed
from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, new_app
from tests.rollouts.long_requests import PATIENT, Held
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

WORKER = """  worker:
    image: {image}
    command: [sleep, "1000"]
    environment: {{VERSION: "{version}"}}
    init: true
"""
DEPLOY = (
    *(
        "noted",
        "created",
        "handed over",
        "connected",
        "backed up",
        "migrated",
        "stopped worker",
        "healthy",
        "answering",
    ),
    *("recorded", "switched", "drained", "retired"),
)

GO_BACK = ("noted", "answering", "recorded", "switched", "drained", "retired")
NODE = "[node, /www/server.js]"
COUNTER = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def app(server: Server) -> LiveApp:
    """An app with a database and two services: the web rolls, the worker cannot run twice."""
    app = new_app(server, "live-killed")
    app.do("db.create")
    write_next(app, "CREATE TABLE shop (id int, gone int)")
    app.do("deploy.up")
    return app


def write_next(app: LiveApp, migration: str = "") -> str:
    """Change all that the next deploy brings; the version."""
    number = next(COUNTER)
    worker = WORKER.format(image=busybox_image(), version=number)
    more = worker + "x-ikoma: {strategy: {worker: recreate}, "
    app.write(str(number), compose(watch="1m").replace("x-ikoma: {", more))
    sql = migration or f"CREATE TABLE later_{number} (id int)"
    (app.folder / "migrations" / f"{number:03}_step.sql").write_text(sql + ";\n")
    return str(number)


def served(app: LiveApp) -> str:
    """The version that serves, as the record and the files say."""
    current = next(item for item in app.releases() if item["current"])
    assert current["state"] == "succeeded", current
    return (app.folder / ".ikoma" / "releases" / current["id"] / "tree" / "src" / "version").read_text().strip()


def kill_at(server: Server, step: str) -> None:
    (Path(server.env["IKOMA_STATE"]) / "kill-at").write_text(step)


def steps_of(server: Server) -> list[str]:
    path = Path(server.env["IKOMA_STATE"]) / "steps"
    steps = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return steps


def test_these_are_all_the_steps(server: Server, app: LiveApp) -> None:
    steps_of(server)
    write_next(app)
    app.do("deploy.up")
    assert steps_of(server) == list(DEPLOY)
    app.do("deploy.rollback")
    assert steps_of(server) == list(GO_BACK)
    write_next(app, "ALTER TABLE shop DROP COLUMN gone")
    app.do("deploy.up")
    assert steps_of(server) == [step for step in DEPLOY if step != "stopped worker"]  # all was stopped before that


def interrupted(app: LiveApp, capability: str, versions: tuple[str, str], *, after: float | None = None) -> str | None:
    """Have the server killed in the middle of a call, start it again, and see that all is in order.

    Returns:
        What serves; None where the call had ended when its server was killed `after` so many seconds.
    """
    server = app.server
    with app.loaded(*versions, rate=100):
        call = Background(server, capability, {"appName": app.name})
        assert server.process is not None
        if after is not None:
            time.sleep(after)
            server.process.kill()
        server.process.wait(timeout=120)
        server.process = None
        answer = call.wait()
        server.start()
        assert answer is None or (after is not None and answer.status == 200)
        eventually(lambda: not (app.folder / ".ikoma" / "rollout.json").exists(), "it is finished or undone")
        eventually(lambda: app.do("apps.status")["health"] == "healthy", "one of them serves")
    operation = next(item for item in app.do("operations.list")["operations"] if item["capability"] == capability)
    assert operation["state"] == ("interrupted" if answer is None else "succeeded")
    eventually(lambda: app.untidy() == [], "nothing is left behind")
    return served(app) if answer is None else None


@pytest.mark.parametrize("step", DEPLOY)
def test_a_server_killed_at_a_step_of_a_deploy(server: Server, app: LiveApp, step: str) -> None:
    before, coming = served(app), write_next(app)
    kill_at(server, step)
    now = interrupted(app, "deploy.up", (before, coming))
    assert now == (coming if DEPLOY.index(step) >= DEPLOY.index("recorded") else before)
    assert (app.releases()[0]["backup"] is not None) == (DEPLOY.index(step) >= DEPLOY.index("backed up"))


@pytest.mark.parametrize("step", GO_BACK)
def test_a_server_killed_at_a_step_of_a_way_back(server: Server, app: LiveApp, step: str) -> None:
    earlier, before = served(app), write_next(app)
    app.do("deploy.up")
    kill_at(server, step)
    now = interrupted(app, "deploy.rollback", (before, earlier))
    assert now == (earlier if GO_BACK.index(step) >= GO_BACK.index("recorded") else before)


@pytest.mark.parametrize("step", ["backed up", "migrated", "recorded"])
def test_a_server_killed_at_a_step_of_a_deploy_whose_migration_stops_first(
    server: Server, app: LiveApp, step: str
) -> None:
    column = f"column_{next(COUNTER)}"
    write_next(app, f"ALTER TABLE shop ADD COLUMN {column} int")
    app.do("deploy.up")
    before, coming = served(app), write_next(app, f"ALTER TABLE shop DROP COLUMN {column}")
    kill_at(server, step)
    now = interrupted(app, "deploy.up", (before, coming))
    assert now == (coming if step == "recorded" else before)
    columns = app.do("db.query", sql="SELECT * FROM shop")["columns"]
    assert (column in str(columns)) == (now == before)


@pytest.fixture(scope="module")
def seconds(app: LiveApp) -> float:
    """How long a deploy takes."""

    def deploy() -> None:
        write_next(app)
        app.do("deploy.up")

    return timed(deploy)


@pytest.mark.parametrize("moment", moments("rollout", 3), ids=["first", "second", "third"])
def test_a_server_killed_at_any_moment_of_a_deploy(app: LiveApp, seconds: float, moment: float) -> None:
    after, now = moment * seconds, None
    while now is None:
        before, coming = served(app), write_next(app)
        now = interrupted(app, "deploy.up", (before, coming), after=after)
        after /= 2  # where it had ended by then: the machine is quicker than it was
    assert now in (before, coming)


@pytest.mark.parametrize("step", ["recorded", "switched"])
def test_a_slow_request_outlives_the_server_that_was_killed(server: Server, step: str) -> None:
    """Requests sent to the containers before are answered by them, though nobody is there to wait for it."""
    text = compose(image="node:22-alpine", command=NODE, watch="1m").replace("x-ikoma: {", PATIENT)
    app = new_app(server, f"live-slow-{step}", compose_file=text)
    shutil.copy(Path(__file__).with_name("server.js"), app.folder / "src")
    app.deploy("1")
    app.write("2")
    kill_at(server, step)
    held = Held(app)
    call = Background(server, "deploy.up", {"appName": app.name})
    assert server.process is not None
    server.process.wait(timeout=120)
    server.process = None
    assert call.wait() is None
    server.start()
    time.sleep(2)  # for what would end it too early
    assert held.let_go() == b"1 whole\n"
    eventually(lambda: app.releases()[0]["state"] == "succeeded", "the rollout is finished")
    assert served(app) == "2"
    app.do("deploy.down")


def test_after_all_of_this_a_deploy_works(app: LiveApp) -> None:
    version = write_next(app)
    app.do("deploy.up")
    assert served(app) == version
    assert app.untidy() == []
