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
    name = world.name("deploy")
    folder = make_app(world.server, name)
    world.server.do("db.create", {"appName": name})
    compose_file = folder / "docker-compose.yml"
    first = compose_file.read_text()
    world.server.do("deploy.up", {"appName": name})
    raw = _Raw(world, folder)
    times: dict[str, tuple[list[float], list[float]]] = {"fresh": ([], []), "one changed container": ([], [])}
    for number in range(world.rounds):
        version = f"{number}"
        world.server.do("deploy.down", {"appName": name})
        compose_file.write_text(first)
        times["fresh"][0].append(took(lambda: world.server.do("deploy.up", {"appName": name})))
        raw.down()
        times["fresh"][1].append(took(raw.up))
        changed = first.replace("    restart:", f"    environment: {{VERSION: 'v{version}'}}\n    restart:")
        compose_file.write_text(changed)
        times["one changed container"][0].append(took(lambda: world.server.do("deploy.up", {"appName": name})))
        raw.change(version)
        times["one changed container"][1].append(took(raw.up))
    raw.down()
    for kind, (ours, beside) in times.items():
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
        self._model["services"]["web"]["environment"]["VERSION"] = f"v{version}"
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
