"""An app under test, and what is seen of it from outside: what answers, which containers run, and what is left."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import docker_api
from tests.apps import remember
from tests.faults.server_observations import half_written
from tests.images import busybox_image
from tests.support import Answer, Server, eventually
from tests.traffic import Traffic, steady

TIMES = "interval: 1s, start_period: 1s, start_interval: 0.2s, retries: 3"
"""Times of a healthcheck: what comes up is found healthy at once, and what is ill within three seconds."""
WEB = """services:
  web:
    image: {image}
    command: {command}
    volumes: ["./src:/www:ro"]{more}
    healthcheck: {{test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000{check}"], {times}}}
    restart: unless-stopped
    init: true
x-ikoma: {{service: web, port: 3000, health: {health}, watch: {watch}, hold: 2m}}
"""
SERVE = "[httpd, -f, -p, '3000', -h, /www]"
UNTIL_TOLD = "until test -e /told; do sleep 0.1; done"
"""Words of a container's script: it goes on once `tell` is called of it."""
CLIENTS = 10
"""How many send requests under load, each one after the other: so many a container that dies may take with it."""


def compose(
    *,
    command: str = SERVE,
    more: str = "",
    image: str | None = None,
    check: str = "/version",
    health: str = "/version",
    watch: str = "0s",
) -> str:
    """The compose file of an app with one web service, which answers /version with what src/version holds.

    Its requests are held for longer than a rollout takes on a machine that has much else to do.

    Args:
        more: further lines of the service, without their indentation.
        check: the path that the container's healthcheck asks for.
        health: the path that x-ikoma names.
    """
    lines = "".join(f"\n    {line}" for line in more.splitlines())
    image = image or busybox_image()
    return WEB.format(image=image, command=command, more=lines, check=check, times=TIMES, health=health, watch=watch)


@dataclass(frozen=True)
class Container:
    """One container as Docker shows it."""

    id: str
    service: str
    state: str
    rollout: str


@dataclass
class LiveApp:
    """An app of a server, by its name."""

    server: Server
    name: str

    @property
    def folder(self) -> Path:
        return self.server.apps / self.name

    @property
    def url(self) -> str:
        """Address of its port on loopback, which never changes."""
        port = (self.folder / ".ikoma" / "port").read_text()
        return f"http://127.0.0.1:{port}/version"

    def write(self, version: str, compose_file: str | None = None) -> None:
        """Change what the next deploy brings."""
        (self.folder / "src" / "version").write_text(version + "\n")
        if compose_file is not None:
            (self.folder / "docker-compose.yml").write_text(compose_file)

    def call(self, capability: str, **arguments: Any) -> Answer:
        return self.server.call(capability, {"appName": self.name, **arguments})

    def do(self, capability: str, **arguments: Any) -> Any:
        return self.call(capability, **arguments).result

    def deploy(self, version: str, compose_file: str | None = None, **arguments: Any) -> str:
        """Deploy a version; the release's id."""
        self.write(version, compose_file)
        return str(self.do("deploy.up", **arguments)["details"]["release"])

    def releases(self) -> list[dict[str, Any]]:
        return list(self.do("release.list")["releases"])

    def release(self, identity: str) -> dict[str, Any]:
        return next(item for item in self.releases() if item["id"] == identity)

    def containers(self) -> list[Container]:
        """All of them, running or not, in the order of their names."""
        found = docker_api.get("/containers/json", all="1", filters={"label": [_project(self.name)]})
        return [
            Container(
                item["Id"],
                item["Labels"].get("com.docker.compose.service", ""),
                item["State"],
                item["Labels"].get("ikoma.rollout", ""),
            )
            for item in sorted(found, key=lambda item: str(item["Names"]))
        ]

    def settle(self) -> LiveApp:
        """Wait until what the last rollout replaced has ended, for which its answer waits only briefly; itself."""
        rollout = self.folder / ".ikoma" / "rollout.json"
        eventually(lambda: not rollout.exists(), f"what was replaced of {self.name} has ended")
        return self

    def running(self, service: str | None = None) -> list[str]:
        """Ids of the containers that run, of one service or of all."""
        return [item.id for item in self.containers() if item.state == "running" and service in (None, item.service)]

    def serving(self, service: str = "web") -> list[str]:
        """Ids of the containers of the release that serves; those that they replaced may be ending still."""
        rollout = _read(self.folder / ".ikoma" / "serving.json")["rollout"]
        found = (item for item in self.containers() if (item.service, item.rollout) == (service, rollout))
        return [item.id for item in found if item.state == "running"]

    def remains(self) -> dict[str, list[str]]:
        """All that the app has in Docker and on the disk: after a deploy that failed it is what it was before.

        Not counted are the images of the release that failed last: the next build takes its layers from them.
        """
        files = [path for path in (self.folder / ".ikoma").rglob("*") if path.name not in ("release.json", "logs.json")]
        return {
            "containers": [item.id for item in self.containers()],
            "networks": sorted(self._networks()),
            "volumes": sorted(item["Name"] for item in docker_api.list_volumes(label=[_project(self.name)])),
            "images": [tag for tag in self._images() if tag.rpartition(":")[2] not in self._failed()[:1]],
            "files": sorted(str(path.relative_to(self.folder)) for path in files if path.is_file()),
            "half-written": [str(path) for path in half_written(self.server)],
        }

    def _networks(self) -> list[str]:
        found = docker_api.get("/networks", filters={"label": [_project(self.name)]})
        return [item["Name"] for item in found]

    def _images(self) -> list[str]:
        """Tags of the app's images, with their repositories."""
        return docker_api.list_images(f"ikoma-app/{self.name}/*")

    def _failed(self) -> list[str]:
        """Ids of the releases that failed before they served, the last first."""
        records = [_read(path) for path in (self.folder / ".ikoma").glob("releases/*/release.json")]
        failed = (item["id"] for item in records if item["state"] == "failed" and not item.get("served_at"))
        return sorted(failed, reverse=True)

    def untidy(self) -> list[str]:
        """List what is there without a purpose: of no release that serves, is kept in standby, or could serve again."""
        state = self.folder / ".ikoma"
        serving, standby = (_read(state / f"{name}.json") for name in ("serving", "standby"))
        rollouts = {item.id: inspected(item.id)["Config"]["Labels"]["ikoma.rollout"] for item in self.containers()}
        networks = self._networks()
        served = {item["id"] for item in self.releases() if item["state"] == "succeeded"}
        tags = [tag.rpartition(":")[2] for tag in self._images()]
        kept = (path for path in (state / "releases").glob("*/*") if path.parent.name not in served)
        return [
            *(
                f"container {one}"
                for one, by in rollouts.items()
                if by not in (serving["rollout"], standby.get("rollout"))
            ),
            *(f"network {name}" for name in networks if name.rpartition("-")[2] not in rollouts.values()),
            *(f"image of {tag}" for tag in tags if tag not in {*served, *self._failed()[:1]}),
            *(str(path) for path in kept if path.name not in ("release.json", "logs.json")),
            *(str(path) for path in state.glob("releases/*") if not (path / "release.json").is_file()),
            *(str(path) for path in state.glob("releases/*/tree.new")),
            *(str(path) for path in half_written(self.server)),
        ]

    @contextlib.contextmanager
    def loaded(self, *versions: str, rate: float = 200, lost: int = 0) -> Iterator[Traffic]:
        """Requests while the block runs: none fails, and none is answered by another version than these.

        Args:
            lost: how many a program may take with it that dies while it answers: CLIENTS, or none.
        """
        with steady(self.url, rate=rate, clients=CLIENTS) as traffic:
            eventually(lambda: traffic.count >= 10, "requests are answered")
            yield traffic
        assert len(traffic.failures) <= lost, Counter(traffic.failures)
        assert set(traffic.answers) <= set(versions), traffic.answers


def new_app(server: Server, name: str, *, compose_file: str | None = None) -> LiveApp:
    """An app with its files in place; not deployed yet."""
    server.do("apps.init", {"appName": name})
    remember(server, name)
    app = LiveApp(server, name)
    app.write("none", compose_file or compose())
    return app


@contextlib.contextmanager
def answers(traffic: Traffic) -> Iterator[Counter[str]]:
    """The answers that come while the block runs; filled when it ends."""
    before = Counter(traffic.answers)
    found: Counter[str] = Counter()
    yield found
    found.update(Counter(traffic.answers) - before)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def tell(container: str) -> None:
    """Let a script go on that waits UNTIL_TOLD."""
    docker("exec", container, "touch", "/told")


def docker_json(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in docker(*arguments, "--format", "{{json .}}").splitlines()]


def inspected(container: str) -> dict[str, Any]:
    found: dict[str, Any] = docker_api.get(f"/containers/{container}/json")
    return found


def _project(name: str) -> str:
    return f"{docker_api.PROJECT}={name}"


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
