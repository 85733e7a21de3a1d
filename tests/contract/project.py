"""A Compose project of its own for one test, on the real engine, laid out as IKOMA lays out an app's folder."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.startup import ServiceStart
from ikoma.engines.docker.containers import Container
from ikoma.kernel.redaction.redaction import KnownSecrets, list_encodings
from ikoma.model import AppName, Secret
from tests import docker_api
from tests.images import busybox_image
from tests.support import DOCKER_HOST, eventually

T = TypeVar("T")

SERVE = ["httpd", "-f", "-p", "3000", "-h", "/bin"]
ANSWERS = {"test": ["CMD", "wget", "-q", "--spider", "http://127.0.0.1:3000/ls"], "interval": "1s", "retries": 3}
FAILS = {"test": ["CMD-SHELL", "echo not today; exit 1"], "interval": "1s", "retries": 2}


@dataclass
class Project:
    """A project, and a test's acts on it."""

    app: AppName
    folder: Path
    engine: ComposeEngine
    runner: asyncio.Runner
    hidden: list[str]
    """Values that nothing said of the project may hold."""
    said: list[tuple[str, float | None]] = field(default_factory=list)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def progress(self, message: str, fraction: float | None = None) -> None:
        self.said.append((message, fraction))

    @property
    def messages(self) -> list[str]:
        return [message for message, _ in self.said]

    def release(self, services: dict[str, Any], **more: Any) -> Path:
        """A resolved compose file in a new release's folder."""
        folder = self.folder / ".ikoma" / "releases" / secrets.token_hex(4)
        folder.mkdir(parents=True)
        path = folder / "compose.json"
        path.write_text(json.dumps({"name": self.app.project, "services": services, **more}))
        return path

    async def start(self, path: Path, *, timeout: float = 90, hidden: Sequence[str] = ()) -> Sequence[Container]:
        """Build, pull, create and start all that a resolved compose file says; the new containers."""
        services = json.loads(path.read_text())["services"]
        self.hidden += hidden
        there = await self.engine.list_containers(self.app)
        async with self.engine.watch_containers(self.app) as watching:
            await self.engine.prepare(
                self.app,
                path,
                build=[name for name, service in services.items() if "build" in service],
                pull=[
                    name
                    for name, service in services.items()
                    if "build" not in service and not await self.engine.has_image(service["image"])
                ],
                progress=self.progress,
            )
            made = await self.engine.create(
                self.app,
                path,
                scale={name: 1 + sum(item.service == name for item in there) for name in services},
                progress=self.progress,
            )
            starts = [
                ServiceStart(
                    name,
                    tuple(item.id for item in made if item.service == name),
                    {other: need["condition"] for other, need in service.get("depends_on", {}).items()},
                )
                for name, service in services.items()
            ]
            return await self.engine.bring_up(
                self.app,
                starts,
                kept=(),
                watching=watching,
                timeout=timeout,
                progress=self.progress,
            )

    def up(
        self, services: dict[str, Any], *, timeout: float = 90, hidden: Sequence[str] = (), **more: Any
    ) -> Sequence[Container]:
        return self.do(self.start(self.release(services, **more), timeout=timeout, hidden=hidden))

    def read_logs(self, container: str, lines: int) -> Sequence[str]:
        return self.do(self.engine.read_logs(self.app, container, lines))

    def containers(self) -> dict[str, Container]:
        return {item.service: item for item in self.do(self.engine.list_containers(self.app))}

    def image(self, dockerfile: str, **files: str) -> dict[str, Any]:
        """The build section of an image made of busybox and these lines."""
        context = self.folder / f"src-{secrets.token_hex(4)}"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {busybox_image()}\n{dockerfile}\n")
        for name, content in files.items():
            (context / name).write_text(content)
        return {"context": str(context), "dockerfile": "Dockerfile"}


def service(command: Sequence[str] = SERVE, **more: Any) -> dict[str, Any]:
    return {"image": busybox_image(), "command": list(command), "init": True, "stop_grace_period": "1s", **more}


def shell(script: str, **more: Any) -> dict[str, Any]:
    return service(["sh", "-c", script], **more)


@contextmanager
def a_project() -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="ikoma-engine-"))
    folder.chmod(0o711)
    app = AppName.parse(f"t-eng-{secrets.token_hex(3)}")
    with asyncio.Runner() as runner:
        hidden: list[str] = []
        engine = ComposeEngine(DOCKER_HOST, lambda app: KnownSecrets.of(list_encodings(map(Secret, hidden))))
        try:
            yield Project(app, folder, engine, runner, hidden)
        finally:
            runner.run(engine.close())
            _remove_all(app)
            shutil.rmtree(folder)


def docker(*arguments: str, check: bool = True) -> list[str]:
    """Lines of what the docker program prints."""
    finished = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)
    return finished.stdout.split("\n")[:-1]


def _remove_all(app: AppName) -> None:
    mine = {"label": [f"{docker_api.PROJECT}={app}"]}
    for item in docker_api.get("/containers/json", all="1", filters=mine):
        docker_api.remove("containers", item["Id"], force="1", v="1")
    for item in docker_api.get("/networks", filters=mine):
        docker_api.remove("networks", item["Id"])
    for item in docker_api.list_volumes(**mine):
        docker_api.remove("volumes", item["Name"])
    for tag in [*docker_api.list_images(f"{app}*"), *docker_api.list_images(f"{app}/*")]:
        docker_api.remove("images", tag)
    eventually(lambda: app not in _list_commands(), "what a step left that failed is gone")


def _list_commands() -> str:
    return " ".join(item["Command"] for item in docker_api.get("/containers/json", all="1"))
