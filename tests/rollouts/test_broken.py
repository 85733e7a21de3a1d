"""Releases that are broken in a dozen ways: each is refused with its cause, and what served goes on as before."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server_observations import Background, small_disk
from tests.images import busybox_image
from tests.leftovers import OWNER
from tests.rollouts.live_app import CLIENTS, UNTIL_TOLD, LiveApp, compose, new_app, tell
from tests.support import Server, eventually, free_port
from tests.support import server as started_server


@dataclass(frozen=True)
class Broken:
    """Fault of a release, and what is said of it.

    Args:
        files: further files in the app's folder, by their path.
        meanwhile: what else is wrong on this machine.
    """

    compose_file: str
    says: str
    code: str = "deploy_failed"
    files: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    meanwhile: Callable[[], AbstractContextManager[object]] = nullcontext


PORT, DATAGRAMS = free_port(), free_port()


@contextmanager
def taken(port: int, kind: socket.SocketKind) -> Iterator[None]:
    """Another program has a port meanwhile."""
    with socket.socket(type=kind) as other:
        other.bind(("0.0.0.0", port))
        if kind is socket.SOCK_STREAM:
            other.listen()
        yield


BUILT = compose().replace(f"image: {busybox_image()}", "build: ./src")
BESIDE = compose().replace(
    "x-ikoma:",
    f"""  beside:
    image: {busybox_image()}
    command: [sleep, "1000"]
    restart: unless-stopped
    init: true
    ports: ["127.0.0.1:PORT"]
x-ikoma:""",
)
"""With a service beside the one that is routed: its ports are published, whatever comes."""
MUCH_MEMORY = "[sh, -c, 'head -c 200000000 /dev/zero | tail']"
KINDS = {
    "image missing": Broken(compose(image="localhost:1/missing:1"), "The image of web could not be pulled"),
    "build fails": Broken(
        BUILT, "The image of web could not be built", files={"src/Dockerfile": f"FROM {busybox_image()}\nRUN exit 3\n"}
    ),
    "exits at once": Broken(
        compose(command="[sh, -c, exit 3]").replace("restart: unless-stopped", 'restart: "no"'),
        "The service web exited with code 3",
    ),
    "crash loop": Broken(compose(command="[sh, -c, exit 3]"), "The service web keeps exiting with code 3"),
    "never healthy": Broken(compose(check="/nothing"), "The service web is unhealthy: its healthcheck fails"),
    "healthy too late": Broken(
        compose(check="/nothing").replace("retries: 3", "retries: 99"),
        "The service web did not become healthy within 4 s",
        arguments={"timeout": 4},
    ),
    "wrong health path": Broken(
        compose(health="/wrong"), r"The containers run, but web is not healthy: /wrong answers 404"
    ),
    "out of memory": Broken(
        compose(command=MUCH_MEMORY, more="mem_limit: 32m"), "The service web needed more memory than its limit"
    ),
    "port taken": Broken(
        BESIDE.replace("PORT", f"{PORT}:3000"),
        f"port {PORT}",
        code="invalid_compose",
        meanwhile=partial(taken, PORT, socket.SOCK_STREAM),
    ),
    "port taken that only the engine sees": Broken(
        BESIDE.replace("PORT", f"{DATAGRAMS}:3000/udp"),
        f"The service beside could not be started: .*{DATAGRAMS}",
        meanwhile=partial(taken, DATAGRAMS, socket.SOCK_DGRAM),
    ),
    "migration fails": Broken(
        compose(), "001_broken.sql", code="sql_failed", files={"migrations/001_broken.sql": "SELECT wrong;\n"}
    ),
    "compose invalid": Broken(compose().replace("image:", "imagee:"), "imagee", code="invalid_compose"),
}


@pytest.fixture(scope="module")
def good(server: Server) -> LiveApp:
    """An app that serves, with a database."""
    app = new_app(server, "live-broken")
    app.do("db.create")
    app.deploy("good")
    return app


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_release_changes_nothing_and_leaves_nothing(good: LiveApp, kind: str) -> None:
    broken = KINDS[kind]
    before, running = good.settle().remains(), good.running()
    for path, content in broken.files.items():
        (good.folder / path).write_text(content)
    good.write("broken", broken.compose_file)
    try:
        with good.loaded("good", rate=100), broken.meanwhile():
            refused = good.call("deploy.up", **broken.arguments)
        assert refused.code == broken.code, refused.body
        assert re.search(broken.says, refused.body["error"])
        assert refused.body["hint"]
        assert good.running() == running
        assert good.remains() == before
        eventually(lambda: good.do("apps.status")["health"] == "healthy", "it is healthy")
    finally:
        for path in broken.files:
            (good.folder / path).unlink()
        good.write("good", compose())
    if broken.code != "invalid_compose":
        failed, serves = good.releases()[0], next(item["id"] for item in good.releases() if item["current"])
        assert refused.body["hint"].endswith(f" The release {serves} goes on serving.")
        assert (failed["state"], failed["current"]) == ("failed", False)
        quotes = broken.code == "sql_failed"
        assert failed["cause"] == (
            "001_broken.sql, line 1: UndefinedColumn (42703)." if quotes else refused.body["error"]
        )


def test_a_release_that_dies_in_its_watch_window_leaves_nothing(server: Server) -> None:
    app = new_app(server, "live-dying", compose_file=compose(watch="5m"))
    app.deploy("good")
    before, running = app.settle().remains(), app.running()
    dies = f"[sh, -c, 'httpd -p 3000 -h /www; {UNTIL_TOLD}; exit 5']"
    with app.loaded("good", "bad", rate=50, lost=CLIENTS):
        bad = app.deploy("bad", compose(command=dies, watch="5m"))
        tell(app.serving()[0])
        eventually(lambda: app.release(bad)["state"] == "failed", "the release is left")
        eventually(lambda: app.running() == running, "the containers that served before serve again")
    assert "web exited with code 5" in app.release(bad)["cause"]
    eventually(lambda: app.remains()["containers"] == running, "its containers are gone")
    assert app.remains()["networks"] == before["networks"]
    assert app.do("apps.status")["health"] == "healthy"


SLOW_BUILD = f"FROM {busybox_image()}\nRUN sleep 3 # {secrets.token_hex(8)}\n"  # no builder has done it before
SLOW_START = compose(command=f"[sh, -c, '{UNTIL_TOLD}; exec httpd -f -p 3000 -h /www']").replace(
    "retries: 3", "retries: 999"
)


@pytest.fixture(scope="module")
def on_small_disk() -> Iterator[LiveApp]:
    """An app that serves, on a disk that can be made as small as its content."""
    with tempfile.TemporaryDirectory(prefix="ikoma-test-") as place:
        Path(place).chmod(0o711)
        (Path(place) / OWNER).write_text(str(os.getpid()))
        with (
            small_disk(Path(place) / "apps", "1g") as disk,
            started_server(APPS_ROOT=str(disk), IKOMA_STATE=f"{place}/state") as server,
        ):
            app = new_app(server, "live-full")
            app.deploy("good")
            yield app


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Nothing more goes onto a disk meanwhile."""

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)

    used = shutil.disk_usage(disk).used
    resize(str(used))
    try:
        yield
    finally:
        resize("1g")


def step_of(app: LiveApp) -> str:
    """Step that the newest operation on an app is at."""
    listed = app.server.do("operations.list", {"appName": app.name})["operations"]
    return str(listed[0]["step"])


@pytest.mark.parametrize(("moment", "compose_file"), [("build", BUILT), ("start", SLOW_START)])
def test_a_disk_that_fills_during_a_deploy_harms_nothing(
    on_small_disk: LiveApp, moment: str, compose_file: str
) -> None:
    app = on_small_disk
    (app.folder / "src" / "Dockerfile").write_text(SLOW_BUILD)
    before, running = app.settle().remains(), app.running()
    app.write("broken", compose_file)
    with app.loaded("good", rate=100):
        deploying = Background(app.server, "deploy.up", {"appName": app.name})
        if moment == "build":
            eventually(lambda: "RUN sleep" in step_of(app), "it is built")
        else:
            eventually(lambda: len(app.running()) == 2, "the new container runs")
        with full(app.server.apps):
            for container in set(app.running()) - set(running):
                tell(container)
            refused = deploying.wait()
    assert refused is not None
    assert refused.code == "disk_full", refused.body
    assert app.running() == running
    assert app.remains() == before
    assert app.releases()[0]["state"] == "failed"
    app.deploy("good", compose())
    assert app.do("apps.status")["health"] == "healthy"


def test_what_crashes_in_the_release_before_is_not_blamed_on_its_repair(server: Server) -> None:
    worker = (
        f"  worker: {{image: {busybox_image()}, command: [sh, -c, COMMAND], restart: always, init: true}}\nx-ikoma:"
    )
    slow = compose(command="[sh, -c, 'sleep 9; httpd -f -p 3000 -h /www']").replace("retries: 3", "retries: 60")
    app = new_app(server, "live-looping", compose_file=compose().replace("x-ikoma:", worker))

    def crashing() -> str:
        return compose(more=f"environment: {{AT: '{time.monotonic()}'}}").replace(
            "x-ikoma:", worker.replace("COMMAND", f"'{UNTIL_TOLD}; sleep 2; exit 1'")
        )

    for repaired in (slow.replace("x-ikoma:", worker.replace("COMMAND", "sleep 1000")), slow):
        app.deploy("crashing", crashing())
        tell(app.running("worker")[0])
        app.deploy("repaired", repaired)
        assert app.do("apps.status")["health"] == "healthy"


def test_nothing_is_said_to_go_on_serving_that_does_not(server: Server) -> None:
    app = new_app(server, "live-alone", compose_file=compose(command="[sh, -c, exit 3]"))
    assert "goes on" not in app.call("deploy.up").body["hint"]
    app.deploy("good", compose())
    app.do("deploy.down")
    app.write("bad", compose(command="[sh, -c, exit 3]"))
    assert "goes on" not in app.call("deploy.up").body["hint"]
