"""A deploy that is cancelled: before it has taken over it leaves no trace, and from then on it is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.rollouts.live_app import LiveApp, compose, new_app
from tests.rollouts.long_requests import PATIENT, Held
from tests.support import Server, eventually

NODE = "[node, /www/server.js]"


@pytest.fixture
def app(server: Server, request: pytest.FixtureRequest) -> LiveApp:
    app = new_app(
        server,
        f"live-{request.node.name.split('_')[1]}-cancelled",
        compose_file=compose(image="node:22-alpine", command=NODE, watch="1m").replace("x-ikoma: {", PATIENT),
    )
    shutil.copy(Path(__file__).with_name("server.js"), app.folder / "src")
    app.deploy("1")
    return app


def serving(app: LiveApp) -> str:
    return str(json.loads((app.folder / ".ikoma" / "serving.json").read_text())["release"])


def test_before_it_takes_over_nothing_has_happened(app: LiveApp) -> None:
    before, containers = app.settle().remains(), app.running()
    never = compose(image="node:22-alpine", command="[sleep, '1000']", watch="1m").replace("retries: 3", "retries: 600")
    app.write("2", never)  # nor is it given up before it is cancelled
    with app.loaded("1", rate=50):
        begun = app.call("deploy.up", wait=0).body["result"]
        eventually(lambda: len(app.running()) == 2, "the new container runs")
        assert app.server.do("operations.cancel", {"operationId": begun["operationId"]})["state"] == "cancelled"
    assert (app.running(), app.remains()) == (containers, before)
    assert app.releases()[0]["cause"] == "The deploy was cancelled."


def test_after_it_has_taken_over_it_is_finished_though_requests_were_waited_for(app: LiveApp) -> None:
    app.write("2")
    first, held = serving(app), Held(app)
    with app.loaded("1", "2", rate=50):
        begun = app.call("deploy.up", wait=0).body["result"]
        eventually(lambda: serving(app) != first, "it has taken over")
        assert app.server.do("operations.cancel", {"operationId": begun["operationId"]})["state"] == "cancelled"
        assert held.let_go() == b"1 whole\n"
        eventually(lambda: not (app.folder / ".ikoma" / "rollout.json").exists(), "it is finished")
    newest = app.releases()[0]
    assert (newest["id"], newest["current"], newest["state"]) == (serving(app), True, "succeeded")
    eventually(lambda: len(app.running()) == 1, "the one before has ended")
    eventually(lambda: app.untidy() == [], "nothing is left behind")
    app.do("deploy.restart")
    assert app.do("apps.status")["health"] == "healthy"
    assert urlopen(app.url).read() == b"2"


def test_taking_an_app_down_is_no_more_than_tried_when_it_is_cancelled(app: LiveApp) -> None:
    containers, held = app.settle().running(), Held(app)
    begun = app.call("deploy.down", wait=0).body["result"]
    eventually(lambda: is_down(app), "requests are told that it is down")
    assert app.server.do("operations.cancel", {"operationId": begun["operationId"]})["state"] == "cancelled"
    assert urlopen(app.url).read() == b"1"
    assert held.let_go() == b"1 whole\n"
    assert app.running() == containers
    assert not json.loads((app.folder / ".ikoma" / "serving.json").read_text())["down"]


def is_down(app: LiveApp) -> bool:
    try:
        return urlopen(app.url).status == 503
    except HTTPError as error:
        return error.code == 503
