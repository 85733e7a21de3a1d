"""The engine of one machine: Docker Compose changes things, Docker's API tells how they are.

Nothing counts as deployed because Compose said so: after it has ended, the containers are looked at.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from ikoma.engines import argv
from ikoma.engines.docker_api import DockerApi
from ikoma.engines.progress import ComposeOutput
from ikoma.engines.watch import Watch
from ikoma.errors import DeployFailed, EngineUnavailable
from ikoma.kernel.redaction import scrub
from ikoma.model import AppName, Secret
from ikoma.ports import Container, Deployed, EngineVersion, Progress, Resolved
from ikoma.run import follow, run

_BUILD_SECONDS = 3600
_STOP_SECONDS = 300
_LOG_LINES = 20
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

    async def volumes(self, app: AppName) -> Sequence[str]:
        return await self._api.volumes(app.project)

    async def save_volume(self, app: AppName, volume: str, target: Path) -> int:
        return await self._api.save_volume(app.project, volume, target)

    async def logs(self, container: Container, lines: int) -> Sequence[str]:
        return await self._api.logs(container.id, lines)

    async def image_present(self, reference: str) -> bool:
        return await self._api.image_present(reference)

    async def image_obtainable(self, reference: str) -> str | None:
        return await self._api.image_obtainable(reference)

    async def resolve(self, app: AppName, folder: Path, compose_file: Path) -> Resolved:
        finished = await run(argv.config(app, folder, compose_file), env=self._env, cwd=folder)
        said = [_cleaned(line) for line in finished.stderr.decode(errors="replace").splitlines() if line.strip()]
        if finished.code != 0:
            return Resolved(None, said[-1] if said else "Compose refused the file.")
        model = orjson.loads(finished.stdout)
        if not model.get("services"):
            return Resolved(None, "The file has no services.")
        return Resolved(model, None, tuple(dict.fromkeys(said)))

    async def up(
        self, app: AppName, compose_file: Path, *, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> Deployed:
        command = argv.up(app, _folder(app, compose_file), compose_file, timeout=int(timeout))
        return await self._work(app, [command], timeout, progress, secrets)

    async def restart(
        self, app: AppName, compose_file: Path, *, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> Deployed:
        folder = _folder(app, compose_file)
        commands = [
            argv.restart(app, folder, compose_file),
            argv.wait(app, folder, compose_file, timeout=int(timeout)),
        ]
        return await self._work(app, commands, timeout, progress, secrets)

    async def stop(self, app: AppName, *, progress: Progress) -> None:
        await self._simple(app, argv.stop(app), progress)

    async def down(self, app: AppName, *, volumes: bool, progress: Progress) -> None:
        await self._simple(app, argv.down(app, volumes=volumes), progress)

    async def _simple(self, app: AppName, command: list[str], progress: Progress) -> None:
        output = ComposeOutput(app.project, progress, ())
        code = await follow(command, on_line=output.line, env=self._env, timeout=_STOP_SECONDS)
        if code != 0:
            await self.version()  # where the engine is away, that is the answer
            raise DeployFailed(f"Compose could not stop {app}: {_sentence(output.error)}")

    async def _work(
        self,
        app: AppName,
        commands: Sequence[list[str]],
        timeout: float,
        progress: Progress,
        secrets: Sequence[Secret],
    ) -> Deployed:
        """Run Compose commands in turn while events are followed, and see that the outcome is good."""
        before = [container.service for container in await self.containers(app) if container.state == "running"]
        async with Watch(self._host, app.project, before) as watch:
            for command in commands:
                output = ComposeOutput(app.project, progress, secrets)
                code = await self._unless_crashing(command, output, watch)
                if code != 0:
                    raise await self._failure(app, output, watch, timeout, secrets)
            containers = await self.containers(app)
            wrong = next((item for item in containers if _is_wrong(item)), None)
            if wrong is not None or not containers:
                raise await self._failure(app, output, watch, timeout, secrets)
            return Deployed(tuple(dict.fromkeys(item.service for item in containers)), watch.downtime_ms())

    async def _unless_crashing(self, command: list[str], output: ComposeOutput, watch: Watch) -> int:
        """Compose's exit code; it is ended early, with 1, when a service keeps dying."""
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

    async def _failure(
        self, app: AppName, output: ComposeOutput, watch: Watch, timeout: float, secrets: Sequence[Secret]
    ) -> Exception:
        if output.error and _UNAVAILABLE.search(output.error):
            return EngineUnavailable(f"The Docker Engine does not answer at {self._host}.")
        containers = await self.containers(app)
        culprit = _culprit(containers, output.error, watch.crash) if output.reached_containers else None
        if culprit is None:
            return _without_container(output)
        crash = watch.crash if watch.crash and watch.crash[0] == culprit.service else None
        exit_code = crash[1] if crash else culprit.exit_code
        logs = [scrub(line, secrets) for line in await self.logs(culprit, _LOG_LINES)]
        return DeployFailed(
            _reason(culprit, exit_code, crash is not None, timeout),
            service=culprit.service,
            exitCode=exit_code,
            state=culprit.state,
            logs=logs,
        )


def _is_wrong(container: Container) -> bool:
    if container.one_shot:
        return container.state != "running" and container.exit_code != 0
    return container.state != "running" or container.health not in (None, "healthy")


def _culprit(containers: Sequence[Container], error: str | None, crash: tuple[str, int] | None) -> Container | None:
    """The container that is to blame: the one that keeps dying, the one Compose names, else the first in trouble."""
    if crash is not None:
        return next((item for item in containers if item.service == crash[0]), None)
    named = [item for item in containers if error and re.search(rf"\b{re.escape(item.name)}\b", error)]
    return next(iter([*named, *(item for item in containers if _is_wrong(item))]), None)


def _reason(container: Container, exit_code: int | None, keeps_dying: bool, timeout: float) -> str:
    if keeps_dying:
        return f"The service {container.service} keeps exiting, with code {exit_code}."
    if container.state in ("exited", "restarting", "dead"):
        return f"The service {container.service} exited with code {exit_code}."
    if container.health == "unhealthy":
        return f"The service {container.service} is unhealthy: its healthcheck fails."
    return f"The service {container.service} was not healthy within {timeout:g} s."


def _without_container(output: ComposeOutput) -> DeployFailed:
    """Compose failed before any container was in trouble: at a build, a pull or a network."""
    error = _sentence(output.error)
    if output.building is not None:
        return DeployFailed(
            f"The image of {output.building} could not be built: {error}",
            audit_message=f"The image of {output.building} could not be built.",
            service=output.building,
            exitCode=None,
            logs=output.build_lines[-_LOG_LINES:],
        )
    return DeployFailed(f"Compose failed: {error}", service=None, exitCode=None, logs=output.build_lines[-_LOG_LINES:])


def _folder(app: AppName, compose_file: Path) -> Path:
    """The app's folder, above `.ikoma/releases/ID/compose.json`."""
    return compose_file.parents[3]


def _cleaned(line: str) -> str:
    """Compose's own words without the log's frame around them."""
    found = re.match(r'time="[^"]*" level=\w+ msg="((?:[^"\\]|\\.)*)"', line)
    return found[1].replace('\\"', '"') if found else line.strip()


def _sentence(text: str | None) -> str:
    text = (text or "it gave no reason").strip()
    return text if text.endswith(".") else f"{text}."
