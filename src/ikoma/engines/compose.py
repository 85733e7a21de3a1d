"""The engine of one machine: Docker Compose changes things, Docker's API tells how they are.

Nothing counts as deployed because Compose said so: after it has ended, the containers are looked at.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from ikoma.engines import archive, argv, failure, log_stream, registry
from ikoma.engines.docker_api import DockerApi
from ikoma.engines.progress import ComposeOutput
from ikoma.engines.readable import log_line, readable, sentence
from ikoma.engines.staging import moved_to, staged
from ikoma.engines.watch import Watch
from ikoma.errors import DeployFailed, EngineUnavailable, IkomaError
from ikoma.kernel.redaction import forms, replaced
from ikoma.model import AppName, Secret
from ikoma.ports import Container, Deployed, EngineVersion, LogLine, Progress, Resolved
from ikoma.run import Finished, follow, run

_RESOLVE_SECONDS = 30
_BUILD_SECONDS = 3600
_STOP_SECONDS = 300
_STAND_SECONDS = 1.0
"""How long a container without a healthcheck must run before it counts as running."""
_LONGEST_LINE = 2000
_RECONNECT_SECONDS = 1.0
_UNAVAILABLE = re.compile(r"[Cc]annot connect to the Docker daemon|docker daemon is not running|no such host docker")


class ComposeEngine:
    """Runs apps with Docker Compose on the engine at `docker_host`."""

    def __init__(self, docker_host: str) -> None:
        self._host = docker_host
        self._api = DockerApi(docker_host)
        self._env = argv.environment(docker_host)

    async def close(self) -> None:
        await self._api.close()

    async def version(self) -> EngineVersion:
        return await self._api.version()

    async def containers(self, app: AppName) -> Sequence[Container]:
        return (await self._api.containers(app.project)).get(app.project, ())

    async def all_containers(self) -> Mapping[str, Sequence[Container]]:
        return await self._api.containers(None)

    async def owners(self) -> Mapping[str, str]:
        return await self._api.owners()

    async def volumes(self, app: AppName) -> Sequence[str]:
        return await self._api.volumes(app.project)

    async def save_volume(self, app: AppName, volume: str, target: Path) -> int:
        return await archive.save_volume(self._api, app.project, volume, target)

    async def logs(self, container: Container, lines: int) -> Sequence[str]:
        return [line[:_LONGEST_LINE] for line in await self._api.logs(container.id, lines)]

    async def log(self, container: Container, *, tail: int, since: float | None) -> Sequence[LogLine]:
        return await log_stream.last_lines(self._api, container.id, tail=tail, since=since)

    def follow_log(self, container: Container, *, since: float) -> AsyncIterator[LogLine]:
        return log_stream.follow(self._api, container.id, since=since)

    async def image_present(self, reference: str) -> bool:
        return await registry.present(self._api, reference)

    async def image_obtainable(self, reference: str) -> str | None:
        return await registry.obtainable(self._api, reference)

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """Call `on_change(project)` whenever a container starts, ends or changes its health. Never returns.

        Every project is told after a reconnection, because what happened meanwhile is unknown.
        """
        while True:
            with suppress(IkomaError):
                async with self._api.events(None) as events:
                    for project in await self.all_containers():
                        on_change(project)
                    async for event in events:
                        on_change(event["Actor"]["Attributes"]["com.docker.compose.project"])
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def resolve(self, app: AppName, folder: Path, compose_file: str, files: Mapping[str, bytes]) -> Resolved:
        with staged(files) as (place, reader):
            command = argv.config(app, place, place / compose_file)
            try:
                finished = await run(
                    command, env=self._env | {"HOME": "/"}, cwd=place, user=reader, timeout=_RESOLVE_SECONDS
                )
            except TimeoutError:
                return Resolved(None, f"Compose did not finish reading the file within {_RESOLVE_SECONDS} s.")
            # What Compose calls by the copy's place is in the app's folder.
            moved = Finished(
                finished.code, *(moved_to(folder, place, part) for part in (finished.stdout, finished.stderr))
            )
        return _resolved(moved)

    async def up(
        self, app: AppName, compose_file: Path, *, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> Deployed:
        command = argv.up(app, _folder(compose_file), compose_file, timeout=_whole(timeout))
        return await self._work(app, compose_file, [command], timeout, progress, secrets)

    async def restart(
        self, app: AppName, compose_file: Path, *, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> Deployed:
        folder = _folder(compose_file)
        commands = [
            argv.restart(app, folder, compose_file),
            argv.wait(app, folder, compose_file, timeout=_whole(timeout)),
        ]
        return await self._work(app, compose_file, commands, timeout, progress, secrets)

    async def stop(self, app: AppName, *, progress: Progress) -> None:
        await self._simple(app, argv.stop(app), progress, "stopped")

    async def down(self, app: AppName, *, volumes: bool, progress: Progress) -> None:
        await self._simple(app, argv.down(app, volumes=volumes), progress, "removed")

    async def _simple(self, app: AppName, command: list[str], progress: Progress, done: str) -> None:
        await self.containers(app)  # where the engine is away, that is the answer
        output = ComposeOutput(app.project, progress, ())
        try:
            code = await follow(command, on_line=output.line, env=self._env, timeout=_STOP_SECONDS)
        except TimeoutError:
            output.error, code = f"It did not end within {_STOP_SECONDS} s.", 1
        if code != 0:
            await self.containers(app)
            raise DeployFailed(f"The containers of {app} could not be {done}: {sentence(output.reason)}")

    async def _work(
        self,
        app: AppName,
        compose_file: Path,
        commands: Sequence[list[str]],
        timeout: float,
        progress: Progress,
        secrets: Sequence[Secret],
    ) -> Deployed:
        """Run Compose commands in turn while events are followed, and see that the outcome is good."""
        output = ComposeOutput(app.project, progress, secrets, _image_services(app, compose_file))
        async with Watch(self._api, app.project, await self.containers(app)) as watch:
            for command in commands:
                succeeded = await self._unless_crashing(command, output, watch) == 0
                if not (succeeded or await self._recovers(app, compose_file, output, watch, timeout)):
                    raise await self._failure(app, output, watch, timeout, secrets)
            containers = await self._settled(app, watch)
            if not containers or watch.crash or any(failure.is_wrong(item) for item in containers):
                output.reached_containers = True
                raise await self._failure(app, output, watch, timeout, secrets)
            names = dict.fromkeys(item.service for item in containers)
            return Deployed(tuple(names), watch.downtime_ms(containers))

    async def _recovers(
        self, app: AppName, compose_file: Path, output: ComposeOutput, watch: Watch, timeout: float
    ) -> bool:
        """Whether containers that ended once, and that Docker starts again, come to stand.

        Compose gives up if it happens to look at one that is down; an app that is up before its database is has to
        fail a time or two. One that keeps failing is a crash.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            container = failure.culprit(await self.containers(app), output, watch)
            if watch.crash or container is None or not failure.may_recover(container, watch):
                return False
            command = argv.wait(app, _folder(compose_file), compose_file, timeout=_whole(left))
            if await self._unless_crashing(command, output, watch) == 0:
                return True
        return False

    async def _unless_crashing(self, command: list[str], output: ComposeOutput, watch: Watch) -> int:
        """Compose's exit code; it is ended early, with 1, when a service keeps dying."""
        output.error = None
        working = asyncio.ensure_future(follow(command, on_line=output.line, env=self._env, timeout=_BUILD_SECONDS))
        crashing = asyncio.ensure_future(watch.crashed.wait())
        try:
            await asyncio.wait([working, crashing], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else 1
        except TimeoutError:
            output.error = f"It did not end within {_BUILD_SECONDS} s."
            return 1
        finally:
            for task in (working, crashing):
                task.cancel()
            await asyncio.wait([working, crashing])

    async def _settled(self, app: AppName, watch: Watch) -> Sequence[Container]:
        """The containers, once those that have no healthcheck to tell have run for a moment since they started."""
        while True:
            containers = await self.containers(app)
            unproven = [item for item in containers if item.state == "running" and item.health is None]
            pause = max((_STAND_SECONDS - watch.seconds_since_start(item) for item in unproven), default=0.0)
            if pause <= 0 or watch.crash or any(item.state == "restarting" for item in containers):
                return containers
            with suppress(TimeoutError):
                await asyncio.wait_for(watch.crashed.wait(), pause)

    async def _failure(
        self, app: AppName, output: ComposeOutput, watch: Watch, timeout: float, secrets: Sequence[Secret]
    ) -> Exception:
        if output.error and _UNAVAILABLE.search(output.error):
            return EngineUnavailable(f"The Docker Engine does not answer at {self._host}.")
        container = failure.culprit(await self.containers(app), output, watch)
        if container is None:
            return failure.without_container(output)
        # What is secret is taken out of whole lines: one that was cut could end in half a secret.
        hidden = forms(secrets)
        lines = [replaced(line, hidden) for line in await self._api.logs(container.id, failure.LOG_LINES)]
        check = await self._api.last_check(container.id) if container.health else None
        return failure.of_container(
            container,
            output,
            watch,
            timeout=timeout,
            logs=[line[:_LONGEST_LINE] for line in lines],
            check=replaced(check, hidden)[:_LONGEST_LINE] if check else None,
        )


def _resolved(finished: Finished) -> Resolved:
    lines = [readable(line).strip() for line in finished.stderr.decode(errors="replace").splitlines()]
    logged = [entry for entry in map(log_line, lines) if entry is not None]
    if finished.code != 0:
        said = [line for line in lines if line and log_line(line) is None]
        return Resolved(None, " ".join(said or [message for _, message in logged]) or "Compose refused the file.")
    model: dict[str, Any] = orjson.loads(finished.stdout)
    if not model.get("services"):
        return Resolved(None, "The file has no services.")
    return Resolved(model, None, tuple(dict.fromkeys(message for level, message in logged if level == "warning")))


def _image_services(app: AppName, compose_file: Path) -> Mapping[str, str]:
    return failure.image_services(app.project, orjson.loads(compose_file.read_bytes()))


def _folder(compose_file: Path) -> Path:
    """The app's folder, above `.ikoma/releases/ID/compose.json`."""
    return compose_file.parents[3]


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
