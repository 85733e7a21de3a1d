"""Retention: releases beyond a number go, with all that only they have; what may still be needed never does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker_json, new_app
from tests.support import Server, eventually
from tests.support import server as started_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started_server(RELEASES_KEEP="3") as started:
        yield started


def kept(app: LiveApp) -> tuple[list[str], set[str]]:
    """Ids of the releases that are listed, newest first, and of those that have images."""
    tags = {item["Tag"] for item in docker_json("images", f"ikoma-app/{app.name}/*")}
    return [item["id"] for item in app.releases()], tags


def test_releases_beyond_the_number_go_and_those_that_are_needed_stay(server: Server) -> None:
    text = compose(watch="0s").replace(f"image: {busybox_image()}", "build: ./src")
    app = new_app(server, "live-keeping", compose_file=text)
    (app.folder / "src" / "Dockerfile").write_text(f"FROM {busybox_image()}\nCOPY version /made-of\n")
    made = [app.deploy(str(number)) for number in range(2)]
    app.do("release.pin", release=made[0])
    made += [app.deploy(str(number)) for number in range(2, 6)]
    wanted = [*reversed(made[3:]), made[0]]
    eventually(lambda: kept(app) == (wanted, set(wanted)), "only these are kept")
    folders = {path.name for path in (app.folder / ".ikoma" / "releases").iterdir()}
    assert folders == set(wanted)

    gone = app.call("deploy.rollback", to=made[2])
    assert (gone.status, gone.code) == (404, "release_not_found")
    assert made[3] in gone.body["hint"]
    app.do("deploy.rollback", to=made[0])
    assert app.release(made[0])["current"]
    app.do("release.pin", release=made[0], pinned=False)
    for _ in range(4):  # a release that serves, and the last that did before, outlive any number of failures
        app.write("broken", text.replace("build: ./src", "image: nowhere.example.com/none:1"))
        assert app.call("deploy.up", timeout=10).code == "deploy_failed"
    listed, tags = kept(app)
    assert {made[0], made[5]} <= set(listed)
    assert {made[0], made[5]} <= tags
    app.do("deploy.rollback")
    assert app.release(made[5])["current"]
