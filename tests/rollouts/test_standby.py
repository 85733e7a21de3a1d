"""Going back within the watch window, where the containers of before do not simply start again."""

from __future__ import annotations

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker, inspected, new_app
from tests.rollouts.test_watching import CHECKED, sicken
from tests.support import Server, eventually

STORE = """  store:
    build: ./src
    command: [sh, -c, "[ -e /began ] && {again}; touch /began /ready; exec sleep 1000"]
    healthcheck: {{test: [CMD, test, -e, /ready], interval: 1s, retries: 600}}
    stop_grace_period: 0s
x-ikoma:"""
STALE = "exit 3"
ONCE_NEVER = "rm /ready && sleep 1000"
"""The second time it does not get ready; the third time it does, since there is nothing to remove."""


def stored(server: Server, name: str, again: str) -> tuple[LiveApp, str]:
    """An app whose release with a store, with data in it, has just been replaced by one without; and that store.

    Args:
        again: what the store does when it is started a second time.
    """
    app = new_app(server, name, compose_file=compose(watch="5m").replace("x-ikoma:", STORE.format(again=again)))
    (app.folder / "src" / "Dockerfile").write_text(f"FROM {busybox_image()}\nVOLUME /keep\n")
    app.deploy("1")
    store = app.running("store")[0]
    docker("exec", store, "sh", "-c", "echo kept > /keep/data")
    app.deploy("2", compose(watch="5m"))
    return app, store


def test_what_cannot_start_again_is_made_anew_with_its_data(server: Server) -> None:
    app, store = stored(server, "live-stale", STALE)
    with app.loaded("1", "2", rate=50):
        app.do("deploy.rollback")
    assert app.running("store") not in ([], [store])
    assert docker("exec", app.running("store")[0], "cat", "/keep/data") == "kept\n"
    assert app.do("apps.status")["health"] == "healthy"


def test_a_return_that_is_cancelled_leaves_the_standby_and_its_data(server: Server) -> None:
    app, store = stored(server, "live-returning", ONCE_NEVER)
    before, standby = app.settle().remains(), (app.folder / ".ikoma" / "standby.json").read_bytes()
    serving = app.running()
    begun = app.call("deploy.rollback", wait=0).body["result"]
    eventually(lambda: store in app.running() and not is_ready(store), "the store is started again")
    assert app.server.do("operations.cancel", {"operationId": begun["operationId"]})["state"] == "cancelled"
    assert (app.running(), app.remains()) == (serving, before)
    assert (app.folder / ".ikoma" / "standby.json").read_bytes() == standby
    app.do("deploy.rollback")
    assert app.running("store") == [store]
    assert docker("exec", store, "cat", "/keep/data") == "kept\n"


def is_ready(store: str) -> bool:
    return docker("exec", store, "sh", "-c", "test ! -e /ready || echo ready") == "ready\n"


@pytest.mark.parametrize("by_itself", [False, True], ids=["called", "by itself"])
def test_a_service_in_the_namespace_of_another_returns_with_it(server: Server, by_itself: bool) -> None:
    inside = "command: [sleep, '1000'], network_mode: 'service:web', init: true"
    side = f"  a-side: {{image: {busybox_image()}, {inside}}}\n"
    text = CHECKED.replace("x-ikoma:", f"{side}x-ikoma:")
    app = new_app(server, f"live-inside-{'alone' if by_itself else 'called'}", compose_file=text)
    good = app.deploy("1")
    kept = app.running()
    app.deploy("2")
    if by_itself:
        sicken(app.serving()[0])
    else:
        app.do("deploy.rollback")
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    eventually(lambda: app.running() == kept, "its containers are the ones that were kept")
    assert inspected(app.running("a-side")[0])["HostConfig"]["NetworkMode"] == f"container:{app.running('web')[0]}"


def test_data_in_a_volume_without_a_name_outlives_its_containers_and_goes_with_the_app(server: Server) -> None:
    app, _ = stored(server, "live-unnamed", STALE)
    mounts = [mount for item in app.containers() for mount in inspected(item.id)["Mounts"]]
    made = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
    assert len(made) == 1
    text = compose(watch="0s").replace("x-ikoma:", STORE.format(again=STALE))
    app.deploy("3", text)
    assert docker("exec", app.running("store")[0], "cat", "/keep/data") == "kept\n"
    app.deploy("4", compose(watch="0s"))
    eventually(lambda: len(app.containers()) == 1, "no container has the volume any more")
    app.deploy("5", text)
    app.do("deploy.down")
    app.deploy("6")
    assert docker("exec", app.running("store")[0], "cat", "/keep/data") == "kept\n"
    assert volumes() & made == made
    app.deploy("7", compose(watch="0s"))
    app.do("apps.remove")
    assert not volumes() & made
    assert list((server.apps / ".ikoma" / "trash").glob(f"live-unnamed-*/volumes/{made.pop()}.tar"))


def volumes() -> set[str]:
    return set(docker("volume", "ls", "-q").split())
