"""deploy.up against `docker compose up -d --wait` on the same resolved file: fresh, and with a changed container."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most, seconds
from bench.world import World, compose, docker_environment, ratio, took
from tests.apps import make_app

_TARGET = 1.15


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


class _Raw:
    """The same app as IKOMA resolved it, in a Compose project of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        self._project = world.name("raw")
        self._file = world.server.folder / f"{self._project}.json"
        self._environment = docker_environment(world.server)
        current = (folder / ".ikoma" / "releases" / "current").read_text()
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
