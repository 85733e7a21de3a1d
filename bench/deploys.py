"""deploy.up against `docker compose up -d --wait` on the same resolved file: fresh, and with a changed container."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.figures import Figure, at_most, seconds
from bench.world import World, compose, docker_environment, ratio, took
from tests.apps import make_app
from tests.traffic import steady

_TARGET = 0.9
_ROLLBACK_SECONDS = 3.0


def deploys(world: World) -> Iterator[Figure]:
    """Ours and the other alternate; taking down is not timed."""
    call = {"appName": world.name("deploy")}
    folder = make_app(world.server, call["appName"])
    world.server.do("db.create", call)
    compose_file = folder / "docker-compose.yml"
    first = compose_file.read_text()
    world.server.do("deploy.up", call)
    raw = _Raw(world, folder)
    fresh: tuple[list[float], list[float]] = ([], [])
    changed: tuple[list[float], list[float]] = ([], [])

    def deploy() -> None:
        world.server.do("deploy.up", call)

    try:
        for number in range(world.rounds):
            world.server.do("deploy.down", call)
            compose_file.write_text(first)
            fresh[0].append(took(deploy))
            raw.down()
            fresh[1].append(took(raw.up))
            variables = f"    environment: {{VERSION: '{number}'}}\n"
            compose_file.write_text(first.replace("    restart:", f"{variables}    restart:"))
            changed[0].append(took(deploy))
            raw.change(str(number))
            changed[1].append(took(raw.up))
    finally:
        raw.down()
    for kind, (ours, beside) in {"fresh": fresh, "one changed container": changed}.items():
        what = f"deploy.up, {kind}, over raw `docker compose up -d --wait`"
        yield at_most(what, ratio(ours, beside), _TARGET, "×", ours=seconds(ours), beside=seconds(beside))


def rollbacks(world: World) -> Iterator[Figure]:
    """Deploys, restarts and rollbacks in turn, with requests coming in all the time: how long, and how many failed."""
    call = {"appName": world.name("back")}
    folder = make_app(world.server, call["appName"])
    world.server.do("deploy.up", call)
    url = world.server.do("apps.status", call)["urls"][0]
    times: dict[str, list[float]] = {"up": [], "restart": [], "rollback": []}
    with steady(f"{url}/ok", rate=200) as traffic:
        for number in range(4 * world.rounds):
            (folder / "src" / "ok").write_text(f"release {number}\n")
            for kind, taken in times.items():
                taken.append(took(partial(world.server.do, f"deploy.{kind}", call)))
    failed = len(traffic.failures)
    what = f"requests that failed in {len(times['up'])} deploys, restarts and rollbacks, of {traffic.count}"
    yield at_most(what, failed, 0, "", ours="; ".join(dict.fromkeys(traffic.failures)) or "0")
    median = statistics.median(times["rollback"])
    yield at_most("deploy.rollback, under load", median, _ROLLBACK_SECONDS, " s", ours=seconds(times["rollback"]))


class _Raw:
    """App as IKOMA resolved it, in a Compose project of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        self._project = world.name("raw")
        self._file = world.server.folder / f"{self._project}.json"
        self._environment = docker_environment(world.server)
        current = world.server.do("apps.status", {"appName": folder.name})["release"]
        resolved = (folder / ".ikoma" / "releases" / current / "compose.json").read_text()
        model = json.loads(resolved)
        model["name"] = self._project
        for kind in ("networks", "volumes"):
            for key, item in (model.get(kind) or {}).items():
                item["name"] = f"{self._project}_{key}"
        self._model = model
        self._write()

    def change(self, version: str) -> None:
        """Change it so that its container must be made anew."""
        self._model["services"]["web"]["environment"]["VERSION"] = version
        self._write()

    def up(self) -> None:
        self._run("up", "-d", "--wait")

    def down(self) -> None:
        self._run("down")

    def _write(self) -> None:
        self._file.touch(mode=0o600)
        self._file.write_text(json.dumps(self._model))

    def _run(self, *arguments: str) -> None:
        argv = compose("-f", str(self._file), *arguments)
        subprocess.run(argv, check=True, capture_output=True, env=self._environment)
