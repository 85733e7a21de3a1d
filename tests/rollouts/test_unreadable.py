"""Notes of IKOMA on one app cannot be read: that app says so, and all others go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rollouts.live_app import new_app
from tests.rollouts.test_watching import CHECKED, sicken
from tests.support import Server, eventually
from tests.traffic import steady


@pytest.fixture(params=["file", "half"])
def broken(server: Server, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of an app with such notes."""
    folder = server.apps / f"broken-{request.param}"
    folder.mkdir()
    if request.param == "half":
        (folder / ".ikoma").mkdir()
        for name in ("serving", "standby", "source", "hook", "volumes"):
            (folder / ".ikoma" / f"{name}.json").write_text('{"release": "20')
    else:
        (folder / ".ikoma").write_text("")
    yield folder
    shutil.rmtree(folder)


def listed(server: Server, name: str) -> dict[str, str]:
    return next(item for item in server.do("apps.list")["apps"] if item["name"] == name)


def test_the_others_are_served_deployed_and_started(server: Server, broken: Path) -> None:
    app = new_app(server, f"beside-{broken.name}")
    app.deploy("1")
    assert "cannot be read" in listed(server, broken.name)["trouble"]
    assert listed(server, broken.name)["health"] == "unknown"
    assert listed(server, app.name)["health"] == "healthy"
    assert listed(server, app.name)["trouble"] is None
    assert "cannot be read" in server.do("apps.health", {"appName": broken.name})["details"]["state"]["details"]
    assert server.call("deploy.restart", {"appName": broken.name}).status != 200
    app.do("deploy.restart")
    app.do("domain.add", domain=f"{app.name}.example.org")
    server.stop()
    server.start()
    app.deploy("2")
    assert server.get("/health").body["status"] == "healthy"
    with app.loaded("2"):
        pass


def test_a_release_of_another_app_that_turns_unhealthy_is_left(server: Server, broken: Path) -> None:
    app = new_app(server, f"watched-{broken.name}", compose_file=CHECKED)
    good = app.deploy("good")
    bad = app.deploy("bad")
    sicken(app.serving()[0])
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    assert app.release(bad)["state"] == "failed"


def test_the_route_of_an_app_stays_while_its_notes_cannot_be_read(server: Server) -> None:
    app, other = new_app(server, "noted"), new_app(server, "noted-beside")
    app.deploy("1")
    state, url = app.folder / ".ikoma", app.url
    state.rename(state.with_name("aside"))
    state.write_text("")
    other.deploy("1")
    with steady(url) as traffic:
        eventually(lambda: traffic.count >= 10, "requests are answered")
    state.unlink()
    state.with_name("aside").rename(state)
    assert traffic.failures == []
    assert set(traffic.answers) == {"1"}
