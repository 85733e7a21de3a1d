"""After the switch: a release that turns unhealthy while it is watched is left for the one before, by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import CLIENTS, LiveApp, compose, docker, inspected, new_app
from tests.support import Server, eventually

HEALTHCHECK = 'test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/version"]'
WELL = compose(command="[sh, -c, 'touch /well; httpd -p 3000 -h /www; sleep 1000']", watch="5m")
"""Text of an app whose window is much longer than it takes to be found ill."""
CHECKED = WELL.replace(HEALTHCHECK, "test: [CMD, test, -e, /well]")


def sicken(container: str) -> None:
    docker("exec", container, "rm", "/well")


def die(container: str) -> None:
    """As its own program would end it; `docker kill` would also tell Docker not to start it again."""
    os.kill(inspected(container)["State"]["Pid"], signal.SIGKILL)


def began_again(container: str, before: str) -> bool:
    return bool(inspected(container)["State"]["StartedAt"] > before)


def ways_back(app: LiveApp) -> list[dict[str, Any]]:
    """List the audit entries of deploy.rollback for an app."""
    calls = [entry for entry in app.server.audit() if entry["capability"] == "deploy.rollback"]
    return [entry for entry in calls if entry["arguments"].get("appName") == app.name]


@pytest.mark.parametrize(("trouble", "cause"), [(sicken, "is unhealthy"), (die, "exited with code 137")])
def test_a_release_that_turns_unhealthy_is_left_within_seconds(
    server: Server, trouble: Callable[[str], None], cause: str
) -> None:
    app = new_app(server, f"live-{trouble.__name__}", compose_file=CHECKED)
    good = app.deploy("good")
    kept = app.running()
    bad = app.deploy("bad")
    with app.loaded("good", "bad", rate=50, lost=CLIENTS if trouble is die else 0) as traffic:
        trouble(app.serving()[0])
        eventually(lambda: app.release(good)["current"], "the release before serves again")
        eventually(lambda: app.running() == kept, "its containers are the ones that were kept")
        eventually(lambda: ways_back(app)[1:], "the way back is audited to its end")
    assert traffic.answers["bad"]
    assert app.release(bad)["state"] == "failed"
    assert cause in app.release(bad)["cause"]
    audited = [(entry["caller"], entry["result"], entry["arguments"]["to"]) for entry in ways_back(app)]
    assert audited == [("ikoma", "started", good), ("ikoma", "success", good)]
    eventually(lambda: [item.id for item in app.containers()] == kept, "nothing of it is left")


def test_a_deploy_that_fails_meanwhile_does_not_end_the_window(server: Server) -> None:
    app = new_app(server, "live-between", compose_file=CHECKED)
    good = app.deploy("good")
    kept = app.running()
    app.deploy("bad")
    before = app.remains()
    app.write("broken", compose(command="[sh, -c, 'sleep 1; exit 3']"))
    assert app.call("deploy.up").code == "deploy_failed"
    assert app.remains() == before
    sicken(app.serving()[0])
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    eventually(lambda: app.running() == kept, "its containers are the ones that were kept")
    last = app.deploy("last", CHECKED)
    app.deploy("newest")
    eventually(lambda: len(app.containers()) == 2, "only what was replaced last is kept")
    app.do("deploy.rollback")
    assert app.release(last)["current"]


@pytest.mark.parametrize("change", ["restart", "scale", "scale back"])
def test_a_release_that_is_changed_meanwhile_is_watched_for_the_rest_of_its_time(server: Server, change: str) -> None:
    app = new_app(server, f"live-{change.replace(' ', '-')}", compose_file=CHECKED)
    good = app.deploy("good")
    kept = app.running()
    bad = app.deploy("bad")
    first = app.serving()[0]
    standby = (app.folder / ".ikoma" / "standby.json").read_bytes()
    if change == "restart":
        app.do("deploy.restart")
    else:
        app.do("deploy.scale", service="web", replicas=2)
    if change == "scale back":
        app.do("deploy.scale", service="web", replicas=1)
        eventually(lambda: len(app.running()) == 1, "the other has ended")  # what is left is of an earlier rollout
    assert (app.folder / ".ikoma" / "standby.json").read_bytes() == standby
    sicken({"scale": first, "scale back": app.running()[0]}.get(change) or app.serving()[0])
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    if change == "scale":
        eventually(lambda: len(app.running()) == 2, "it has the number that was chosen")
    else:
        eventually(lambda: app.running() == kept, "its containers are the ones that were kept")
    assert app.release(bad)["state"] == "failed"
    eventually(lambda: len(app.containers()) == len(app.running()), "nothing of it is left")


def test_nothing_leads_back_to_a_release_that_was_unhealthy_when_it_was_replaced(server: Server) -> None:
    app = new_app(server, "live-both-ill", compose_file=CHECKED)
    app.deploy("ill", CHECKED.replace("watch: 5m", "watch: 0s"))
    sicken(app.serving()[0])
    eventually(lambda: app.do("apps.status")["health"] == "unhealthy", "it is unhealthy")
    newest = app.deploy("newest", CHECKED)
    eventually(lambda: len(app.containers()) == 1, "nothing of the release before is kept")
    eventually(lambda: "live-both-ill: nothing of" in app.server.log(), "it is said in the log")
    sicken(app.serving()[0])
    eventually(lambda: app.do("apps.status")["health"] == "unhealthy", "it is unhealthy")
    time.sleep(3)
    assert app.release(newest)["current"]
    assert ways_back(app) == []


def test_what_served_in_both_releases_stays_on_every_way_back(server: Server) -> None:
    shared = "  worker: {image: IMAGE, command: [sleep, '1000'], init: true}\nx-ikoma:".replace(
        "IMAGE", busybox_image()
    )
    app = new_app(server, "live-shared", compose_file=compose(watch="5m").replace("x-ikoma:", shared))
    app.deploy("1")
    worker, one = app.running("worker"), app.running("web")
    app.deploy("2", compose(watch="5m", more="environment: {CHANGED: '1'}").replace("x-ikoma:", shared))
    two = app.running("web")
    for serving in (one, two, one):
        app.do("deploy.rollback")
        eventually(lambda serving=serving: app.running("web") == serving, "the ones that were kept serve")
        assert app.running("worker") == worker


def test_what_was_replaced_goes_when_the_window_ends(server: Server) -> None:
    app = new_app(server, "live-window", compose_file=compose(watch="5m"))
    app.deploy("1")
    first = app.running()
    app.deploy("2")
    kept = [item for item in app.containers() if item.id in first]
    assert [item.state for item in kept] == ["exited"]
    app.deploy("3", compose(watch="3s"))
    eventually(lambda: len(app.containers()) == 1, "the containers of the releases before are gone")
    assert time.time() >= json.loads((app.folder / ".ikoma" / "serving.json").read_text())["since"] + 3
    assert app.do("apps.status")["health"] == "healthy"


def test_without_a_window_nothing_is_kept_and_nothing_is_left(server: Server) -> None:
    app = new_app(server, "live-unwatched", compose_file=compose(watch="0s"))
    app.deploy("1")
    app.deploy("2")
    eventually(lambda: len(app.containers()) == 1, "the containers of the release before are gone")
    first = app.serving()[0]
    began = inspected(first)["State"]["StartedAt"]
    die(first)
    eventually(lambda: app.running() == [first] and began_again(first, began), "Docker has started it again")
    assert [item["current"] for item in app.releases()] == [True, False]


def test_what_somebody_removed_of_the_standby_is_made_again(server: Server) -> None:
    two = compose(watch="5m").replace(
        "x-ikoma:", "  worker: {image: IMAGE, command: [sleep, '1000'], init: true}\nx-ikoma:"
    )
    app = new_app(server, "live-lacking", compose_file=two.replace("IMAGE", busybox_image()))
    app.deploy("1")
    first = app.running("worker")
    app.deploy("2")
    docker("rm", "-f", *first)
    with app.loaded("1", "2", rate=50):
        app.do("deploy.rollback")
    assert len(app.running("worker")) == len(app.running("web")) == 1
    assert app.do("apps.status")["health"] == "healthy"
