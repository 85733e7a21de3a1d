"""The engine is away when the server starts: what needs no engine goes on, and the rest when it is back."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.faults.witness import eventually
from tests.rollouts.live import new_app
from tests.support import DOCKER_HOST
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
