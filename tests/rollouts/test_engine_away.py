"""The engine is away when the server starts: what needs no engine goes on, and the rest when it is back."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.faults.server_observations import Background
from tests.forwarded_docker import forwarded, refusing
from tests.rollouts.live_app import new_app
from tests.rollouts.self_killing_server import COMMAND
from tests.support import DOCKER_HOST, eventually
from tests.support import server as started_server


def test_the_server_starts_without_the_engine() -> None:
    socket = Path(DOCKER_HOST.removeprefix("unix://"))
    with tempfile.TemporaryDirectory() as folder, started_server(DOCKER_HOST=f"unix://{folder}/docker.sock") as server:
        link = Path(folder, "docker.sock")
        link.symlink_to(socket)
        app = new_app(server, "engine-away")
        app.do("db.create")
        app.deploy("1")
        server.stop()
        link.unlink()
        server.start()
        assert app.call("apps.status").code == "docker_unavailable"
        assert app.do("db.status")["exists"]
        link.symlink_to(socket)
        eventually(lambda: app.call("deploy.restart").status == 200, "what needs the engine is answered")
        with app.loaded("1"):
            pass


def test_the_server_starts_while_the_engine_refuses_and_follows_it_when_it_has_started() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder, "docker.sock")
        starting = stack.enter_context(ExitStack())
        starting.enter_context(refusing(path))
        server = stack.enter_context(started_server(DOCKER_HOST=f"unix://{path}"))
        assert server.do("platform.check")["checks"]["docker"] is False
        starting.close()
        stack.enter_context(forwarded(path))
        eventually(lambda: server.do("platform.check")["healthy"], "the engine is used as soon as it answers")
        app = new_app(server, "engine-late")
        app.do("db.create")
        app.deploy("1")  # its containers reach PostgreSQL at the engine's gateway, which the server had to hear of


def test_a_release_that_serves_is_no_failure_where_the_engine_goes_before_the_rest_is_done() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder, "docker.sock")
        away = stack.enter_context(ExitStack())
        away.enter_context(forwarded(path))
        server = stack.enter_context(started_server(DOCKER_HOST=f"unix://{path}", command=COMMAND))
        app = new_app(server, "engine-going")
        app.deploy("1")
        before, waits = app.running(), Path(server.env["IKOMA_STATE"]) / "wait-at"
        waits.write_text("switched")
        app.write("2")
        deploying = Background(server, "deploy.up", {"appName": app.name})
        steps = Path(server.env["IKOMA_STATE"]) / "steps"
        eventually(lambda: steps.read_text().endswith("recorded\nswitched\n"), "the new one serves")
        away.close()
        waits.unlink()
        answer = deploying.wait()
        assert answer is not None
        assert answer.result["message"].endswith(
            "What it replaced is still to be removed: that is done when Docker answers."
        )
        assert set(before) < set(app.running())
        stack.enter_context(forwarded(path))
        eventually(lambda: not set(before) & set(app.running()), "what was replaced is removed")
        eventually(lambda: not (app.folder / ".ikoma" / "rollout.json").exists(), "nothing is under way")
        current = next(item for item in app.releases() if item["current"])
        assert (current["id"], current["state"]) == (answer.result["details"]["release"], "succeeded")
        with app.loaded("2"):
            pass
