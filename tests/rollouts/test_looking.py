"""The watch window ends only when somebody has looked: whatever else goes on, a broken release is left."""

from __future__ import annotations

import threading
import time

from tests.rollouts.live_app import UNTIL_TOLD, compose, docker, new_app, tell
from tests.rollouts.skewed_clock_server import COMMAND
from tests.rollouts.test_watching import CHECKED, die, sicken, ways_back
from tests.support import Server, eventually
from tests.support import server as started_server

SECONDS = 20
"""Length of a window that something else outlasts; meanwhile a test makes the release ill."""
SHORT = CHECKED.replace("watch: 5m", f"watch: {SECONDS}s")
SLOW_TO_RETURN = CHECKED.replace(
    "touch /well;", f"if test -e /before; then {UNTIL_TOLD}; fi; touch /before /well;"
).replace("start_period: 1s", "start_period: 5m")
SLOW_TO_END = SHORT.replace("init: true", "stop_grace_period: 25s").replace("'touch", "'trap : TERM; touch")
ONE_AT_A_TIME = CHECKED.replace("watch: 5m", "watch: 5m, strategy: recreate")


def test_also_where_a_deploy_that_fails_lasts_longer_than_the_window(server: Server) -> None:
    app = new_app(server, "look-failing", compose_file=SHORT)
    good = app.deploy("good")
    bad = app.deploy("bad")
    over = time.monotonic() + SECONDS
    first = app.serving()[0]
    app.write("never", compose(command=f"[sh, -c, '{UNTIL_TOLD}; exit 3']").replace("retries: 3", "retries: 999"))
    failing = threading.Thread(target=app.call, args=("deploy.up",))
    failing.start()
    eventually(lambda: len(app.running()) == 2, "the next release is coming up")
    die(first)
    time.sleep(max(0.0, over + 1 - time.monotonic()))
    assert failing.is_alive()
    for container in set(app.running()) - {first}:
        tell(container)
    failing.join()
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    assert app.release(bad)["state"] == "failed"


def test_also_while_another_app_goes_back(server: Server) -> None:
    slow, app = new_app(server, "look-slow", compose_file=SLOW_TO_RETURN), new_app(server, "look-beside")
    before = slow.deploy("good")
    slow.deploy("bad")
    good = app.deploy("good", CHECKED)
    app.deploy("bad")
    sicken(slow.serving()[0])
    eventually(lambda: ways_back(slow), "it is going back")
    sicken(app.serving()[0])
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    assert not slow.release(before)["current"]
    for container in slow.running():
        tell(container)
    eventually(lambda: slow.release(before)["current"], "that of the other one does, too")


def test_also_while_the_containers_before_take_their_time_to_end(server: Server) -> None:
    app = new_app(server, "look-ending", compose_file=SLOW_TO_END)
    good = app.deploy("good")
    app.deploy("bad")
    assert len(app.running()) == 2
    sicken(next(item for item in app.running() if item != app.containers()[0].id))
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    docker("kill", *app.running())  # nobody needs to wait for their ends


def test_what_a_deploy_that_fails_stops_for_a_while_is_not_broken(server: Server) -> None:
    app = new_app(server, "look-stopped", compose_file=ONE_AT_A_TIME)
    app.deploy("1")
    second = app.deploy("2")
    app.write("broken", compose(command="[sh, -c, 'sleep 1; exit 3']").replace("watch: 0s", "strategy: recreate"))
    assert app.call("deploy.up").code == "deploy_failed"
    time.sleep(4)
    assert app.release(second)["current"]
    assert ways_back(app) == []


def test_also_where_the_clock_is_set(server: Server) -> None:
    with started_server(command=COMMAND) as skewed:
        app = new_app(skewed, "look-clock", compose_file=CHECKED)
        good = app.deploy("good")
        app.deploy("bad")
        time.sleep(2)
        (skewed.folder / "state" / "clock").write_text("7200")
        time.sleep(2)
        sicken(app.serving()[0])
        eventually(lambda: app.release(good)["current"], "the release before serves again")
