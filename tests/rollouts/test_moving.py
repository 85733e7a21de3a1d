"""Things that one service has for itself go to another one: a volume, a host port. Never do both have them at once."""

from __future__ import annotations

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker, inspected, new_app
from tests.support import Server, eventually, free_port


def keeper(name: str, has: str) -> str:
    """An app with a service that has something for itself, besides its web service."""
    service = f"  {name}:\n    image: {busybox_image()}\n    init: true\n    command: [sleep, infinity]\n    {has}\n"
    return compose(watch="1m").replace("x-ikoma: {", f"{service}volumes: {{dat: {{}}}}\nx-ikoma: {{")


def of(app: LiveApp, service: str) -> str:
    [found] = [item.id for item in app.containers() if item.service == service]
    return found


@pytest.mark.parametrize("what", ["volume", "port"])
def test_a_service_with_another_name_starts_when_its_predecessor_has_stopped(server: Server, what: str) -> None:
    has = "volumes: ['dat:/dat']" if what == "volume" else f"ports: ['127.0.0.1:{free_port()}:80']"
    app = new_app(server, f"live-moving-{what}")
    before = app.deploy("1", keeper("old", has))
    old = of(app, "old")
    with app.loaded("1", "2"):
        app.deploy("2", keeper("new", has))
    new = of(app, "new")
    assert inspected(old)["State"]["FinishedAt"] < inspected(new)["State"]["StartedAt"]
    assert app.do("deploy.rollback")["details"]["release"] == before
    assert app.running("old") == [old]
    assert inspected(new)["State"]["FinishedAt"] < inspected(old)["State"]["StartedAt"]
    app.do("deploy.down")


def test_where_the_successor_fails_the_predecessor_is_started_again(server: Server) -> None:
    has = "volumes: ['dat:/dat']"
    app = new_app(server, "live-moving-back")
    app.deploy("1", keeper("old", has))
    old = of(app, "old")
    app.write("2", keeper("new", has).replace("[sleep, infinity]", "['false']"))
    assert app.call("deploy.up").code == "deploy_failed"
    assert app.running("old") == [old]
    assert app.do("apps.health")["health"] == "healthy"
    app.do("deploy.down")


def test_a_paused_container_has_its_port_still_and_is_in_nobodys_way(server: Server) -> None:
    has = f"ports: ['127.0.0.1:{free_port()}:80']"
    app = new_app(server, "live-moving-paused")
    app.deploy("1", keeper("old", has))
    docker("pause", of(app, "old"))
    app.write("2", keeper("old", has).replace("[sleep, infinity]", "['false']"))
    assert app.call("deploy.up").code == "deploy_failed"
    app.deploy("3", keeper("new", has))
    docker("pause", of(app, "new"), *app.running("web"))
    app.do("deploy.restart")
    eventually(lambda: len(app.running()) == 2, "what was paused is replaced")
    app.do("deploy.down")


def test_a_service_takes_the_mounts_of_one_that_is_kept(server: Server) -> None:
    app = new_app(server, "live-moving-from")
    text = keeper("old", "volumes: ['dat:/dat']")
    text = text.replace('    volumes: ["./src:/www:ro"]', '    volumes: ["./src:/www:ro"]\n    volumes_from: [old]')
    app.deploy("1", text)
    old = of(app, "old")
    docker("exec", old, "sh", "-c", "echo kept > /dat/file")
    app.deploy("2", text.replace("    volumes_from", "    environment: {V: '2'}\n    volumes_from"))
    assert of(app, "old") == old
    assert docker("exec", app.serving()[0], "cat", "/dat/file") == "kept\n"
    app.do("deploy.down")
