"""A backup says of each volume whether anybody could write to it, and whom it pauses goes on, whatever ends it."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.faults.server_observations import Background, named
from tests.faults.test_bringing_back import killed, state
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP = named("held")
WRITES = "n=0; while :; do n=$$((n + 1)); echo $$n > /data/first; echo $$n > /data/second; done"
WITH_WRITERS = (
    COMPOSE.replace('["./src:/www:ro"]', '["./src:/www:ro", "data:/data", "read:/read:ro"]').replace(
        "x-ikoma:",
        '  worker:\n    image: {image}\n    command: ["sh", "-c", "' + WRITES + '"]\n    volumes: ["work:/data"]\n'
        "    init: true\nx-ikoma:",
    )
    + "volumes:\n  data: {{}}\n  read: {{}}\n  work: {{}}\n"
)
CONSISTENT, CRASH = "consistent", "crash-consistent"
STEPS = ("writers noted", "writers held", "writers let go", "volumes")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def app(server: Server) -> dict[str, str]:
    """An app that is up; one service writes to its volume without a pause."""
    make_app(server, APP, compose=WITH_WRITERS)
    server.do("deploy.up", {"appName": APP})
    return {"appName": APP}


def container(service: str) -> str:
    label = f"label=com.docker.compose.project={APP}"
    of = f"label=com.docker.compose.service={service}"
    found = subprocess.check_output(["docker", "ps", "--quiet", "--filter", label, "--filter", of], text=True).split()
    assert len(found) == 1
    return found[0]


def is_paused(service: str) -> bool:
    said = subprocess.check_output(
        ["docker", "inspect", "--format", "{{.State.Paused}}", container(service)], text=True
    )
    return said.strip() == "true"


def told(made: dict[str, Any]) -> dict[str, str]:
    """The word for each volume, which the signed manifest says too."""
    manifest = json.loads((Path(made["path"]) / "manifest.json").read_text())["manifest"]
    assert made["volumes"] == {name: item["consistency"] for name, item in manifest["volumes"].items()}
    return {name.removeprefix(f"{APP}_"): word for name, word in made["volumes"].items()}


def test_each_volume_has_the_word_that_is_true_of_it(server: Server, app: dict[str, str]) -> None:
    made = server.do("backup.create", app)
    assert told(made) == {"data": CRASH, "read": CONSISTENT, "work": CRASH}
    assert f"{APP}_data, {APP}_work" in str(made["warnings"])
    assert "pausedMs" not in made
    server.do("deploy.down", app)
    made = server.do("backup.create", app)
    assert told(made) == {"data": CONSISTENT, "read": CONSISTENT, "work": CONSISTENT}
    assert made["warnings"] == []
    stranger = [
        "docker",
        "run",
        "--rm",
        "--detach",
        "--volume",
        f"{APP}_read:/x",
        "ikoma-test-busybox:1",
        "sleep",
        "600",
    ]
    foreign = subprocess.check_output(stranger, text=True).strip()
    try:
        made = server.do("backup.create", {**app, "pause": 60})
        assert told(made) == {"data": CONSISTENT, "read": CRASH, "work": CONSISTENT}, (
            "another's container is left alone"
        )
    finally:
        subprocess.run(["docker", "rm", "--force", foreign], check=True, capture_output=True)
    server.do("deploy.up", app)


def test_writers_are_paused_while_they_are_read_and_go_on_then(server: Server, app: dict[str, str]) -> None:
    subprocess.run(["docker", "pause", container("web")], check=True, capture_output=True)
    try:
        made = server.do("backup.create", {**app, "pause": 300})
        assert (is_paused("web"), is_paused("worker")) == (True, False), "who paused it lets it go on"
    finally:
        subprocess.run(["docker", "unpause", container("web")], check=True, capture_output=True)
    assert told(made) == {"data": CONSISTENT, "read": CONSISTENT, "work": CONSISTENT}
    assert 0 < made["pausedMs"] < 300_000
    assert "was paused for" in made["message"]
    with tarfile.open(Path(made["path"]) / "volumes" / f"{APP}_work.tar") as archive:
        first, second = (archive.extractfile(f"./{name}") for name in ("first", "second"))
        assert first is not None
        assert second is not None
        numbers = [int(stream.read() or 0) for stream in (first, second)]
    assert numbers[0] - numbers[1] in (0, 1) or 0 in numbers, "of one moment"
    assert not (server.apps / APP / ".ikoma" / "held.json").exists()
    assert server.call("backup.create", {"appName": "ikoma", "pause": 5}).status == 422


def test_they_are_let_go_when_the_time_is_over_and_it_is_said(server: Server, app: dict[str, str]) -> None:
    state(server, "wait-at").write_text("writers held")
    call = Background(server, "backup.create", {**app, "pause": 1})
    eventually(lambda: is_paused("worker"), "it is paused", 120)
    time.sleep(1.5)  # as long as the pause may take, and more
    state(server, "wait-at").unlink()
    answer = call.wait()
    assert answer is not None
    made = answer.body["result"]
    assert told(made) == {"data": CRASH, "read": CONSISTENT, "work": CRASH}
    assert made["pausedMs"] >= 1000, "as long as it took, not as long as was wished"
    assert not is_paused("worker")


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_server_lets_go_what_it_had_paused_and_nothing_else(
    server: Server, app: dict[str, str], step: str
) -> None:
    subprocess.run(["docker", "pause", container("web")], check=True, capture_output=True)
    try:
        killed(server, "backup.create", {**app, "pause": 600}, step)
        eventually(lambda: not is_paused("worker"), "it goes on", 120)
        note = server.apps / APP / ".ikoma" / "held.json"
        eventually(lambda: not note.exists(), "nothing is left of it", 120)
        assert is_paused("web")
    finally:
        subprocess.run(["docker", "unpause", container("web")], check=True, capture_output=True)
