"""The engine of one machine: Docker Compose changes things, Docker's API tells how they are.

Nothing counts as deployed because Compose said so: after it has ended, the containers are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from ikoma.engines.compose import argv, failure
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.progress import ComposeOutput
from ikoma.engines.compose.startup import ContainerStuck, ServiceStart, Startup
from ikoma.engines.docker import archive, control, image_registry, listening, log_stream, one_off, ownership
from ikoma.engines.docker.answers import PROJECT
from ikoma.engines.docker.containers import (
    AnonymousVolume,
    CommandResult,
    Container,
    ContainerNotStarted,
    Owner,
    ResourceInventory,
)
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.readable import make_sentence
from ikoma.engines.docker.stats import read_usage
from ikoma.errors import DeployFailed, EngineUnavailable, IkomaError
from ikoma.kernel.redaction.redaction import FindAppSecrets, redact
from ikoma.model import AppName
from ikoma.ports.images import Image
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import (
    EngineVersion,
    ListeningPort,
    LogLine,
    OnReplicaEvent,
    ReplicaEvent,
    ReplicaUsage,
    RestartHistory,
)
from ikoma.ports.volumes import ResourceInfo
from ikoma.run import follow

log = logging.getLogger("ikoma")

_BUILD_SECONDS = 3600
_STOP_SECONDS = 3700  # a service may say that it takes an hour to end
_CREATE_SECONDS = 600
_LONGEST_LINE = 2000
_KILLED = 137
"""The exit code of a process that the kernel has ended."""
_RECONNECT_SECONDS = 1.0
_UNAVAILABLE = re.compile(r"[Cc]annot connect to the Docker daemon|docker daemon is not running|no such host docker")


class ComposeEngine:
    """Runs apps with Docker Compose on the engine at `docker_host`.

    Args:
        find_secrets: asked for what no progress message, line or error of an app may hold.
    """

    def __init__(self, docker_host: str, find_secrets: FindAppSecrets) -> None:
        self.find_secrets = find_secrets
        self._host = docker_host
        self._api = self.api = DockerApi(docker_host)
        self._env = argv.make_environment(docker_host)

    async def close(self) -> None:
        await self._api.close()

    async def read_version(self) -> EngineVersion:
        return await self._api.read_version()

    async def find_root(self) -> str:
        return await self._api.find_root()

    async def list_containers(self, app: AppName) -> Sequence[Container]:
        return (await self._api.list_containers(app.project)).get(app.project, ())

    async def list_all_containers(self) -> Mapping[str, Sequence[Container]]:
        return await self._api.list_containers(None)

    async def read_restarts(self, container: str) -> RestartHistory | None:
        return await self._api.read_restarts(container)

    async def list_listening_ports(self, container: str, address: str | None) -> Sequence[ListeningPort] | None:
        if address is None or (pid := await self._api.find_pid(container)) is None:
            return None
        return await asyncio.to_thread(listening.list_of_process, pid, address)

    async def pause(self, container: str) -> None:
        await control.pause(self._api, container)

    async def unpause(self, container: str) -> None:
        shown = await self._api.inspect(container)
        if shown is not None and shown["State"]["Paused"]:
            await control.unpause(self._api, container)

    async def measure_usage(self, containers: Sequence[str]) -> Mapping[str, ReplicaUsage]:
        return await read_usage(self._api, containers)

    async def map_container_owners(self) -> Mapping[str, str]:
        return await self._api.map_container_owners()

    async def map_owners(self) -> Mapping[str, str]:
        return await self._api.map_owners()

    async def list_resources(self) -> ResourceInventory:
        return await self._api.list_resources()

    async def list_volumes(self, app: AppName) -> Sequence[str]:
        return await self._api.list_volumes(app.project)

    async def remove_volume(self, name: str) -> None:
        await archive.release_volume(self._api, name)
        await control.remove_volume(self._api, name)

    async def list_volume_holders(self, app: AppName, volume: str) -> Sequence[str]:
        return await archive.list_holders(self._api, app.project, volume)

    async def save_volume(self, app: AppName, volume: str, target: Path) -> int:
        return await archive.save_volume(self._api, app.project, volume, target)

    async def load_volume(self, app: AppName, volume: str, made: ResourceInfo, source: Path) -> None:
        await archive.load_volume(self._api, app.project, volume, made, source)

    async def read_logs(self, app: AppName, container: str, lines: int) -> Sequence[str]:
        # What is secret is taken out of whole lines: one that was cut could end in half a secret.
        hidden = self.find_secrets(app).texts
        found = await log_stream.read_last_lines(self._api, container, tail=lines, since=None)
        return [redact(line.text, hidden)[:_LONGEST_LINE] for line in found]

    async def read_log(self, container: str, *, tail: int, since: float | None) -> Sequence[LogLine]:
        return await log_stream.read_last_lines(self._api, container, tail=tail, since=since)

    def follow_log(self, container: str, *, since: float) -> AsyncIterator[LogLine]:
        return log_stream.follow(self._api, container, since=since)

    async def has_image(self, reference: str) -> bool:
        return await image_registry.has_image(self._api, reference)

    async def check_image_obtainable(self, reference: str) -> str | None:
        return await image_registry.check_obtainable(self._api, reference)

    async def watch(self, on_change: OnReplicaEvent) -> None:
        while True:
            with suppress(IkomaError):
                async with self._api.follow_events(None) as events:
                    for project in await self.list_all_containers():
                        on_change(ReplicaEvent(project))
                    async for event in events:
                        on_change(_change(event))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def prepare(
        self,
        app: AppName,
        compose_file: Path,
        *,
        build: Sequence[str],
        pull: Sequence[str],
        progress: Progress,
    ) -> None:
        await self.read_version()  # where the engine is away, that is the answer
        folder = _folder(compose_file)
        commands = [argv.pull(app, folder, compose_file, pull)] if pull else []
        commands += [argv.build(app, folder, compose_file, build)] if build else []
        for command in commands:
            output = ComposeOutput(app.project, progress, self.find_secrets(app), _image_services(app, compose_file))
            began = time.time()
            if await self._follow(command, output, _BUILD_SECONDS) != 0:
                for identity in output.step_containers:
                    await control.remove_step_container(self._api, identity, since=began)
                raise await self._compose_failed(output)

    async def create(
        self,
        app: AppName,
        compose_file: Path,
        *,
        scale: Mapping[str, int],
        progress: Progress,
    ) -> Sequence[Container]:
        there = await self.list_containers(app)
        for item in there:
            if item.state == "paused":  # Compose would start it, which the engine refuses
                progress(f"{item.service}: unpausing")
                await control.unpause(self._api, item.id)
        before = {item.id for item in there}
        output = ComposeOutput(app.project, progress, self.find_secrets(app), _image_services(app, compose_file))
        command = argv.create(app, _folder(compose_file), compose_file, scale)
        succeeded = await self._follow(command, output, _CREATE_SECONDS) == 0
        made = [item for item in await self.list_containers(app) if item.id not in before]
        if not succeeded:
            await self.remove_containers([item.id for item in made], volumes=True)
            raise await self._compose_failed(output)
        return made

    @asynccontextmanager
    async def watch_containers(self, app: AppName) -> AsyncIterator[DowntimeWatch]:
        async with DowntimeWatch(self._api, app.project, await self.list_containers(app)) as watch:
            yield watch

    async def bring_up(
        self,
        app: AppName,
        starts: Sequence[ServiceStart],
        *,
        kept: Collection[str],
        watching: DowntimeWatch,
        timeout: float,
        progress: Progress,
    ) -> Sequence[Container]:
        output = ComposeOutput(app.project, progress, self.find_secrets(app))
        startup = Startup(self._api, app.project, watching, output, kept)
        try:
            return await startup.run(starts, timeout=timeout, progress=progress)
        except ContainerStuck as stuck:
            raise await self._failure(app, stuck.container, output, watching, timeout) from stuck

    async def run_once(
        self,
        app: AppName,
        like: str,
        command: Sequence[str],
        *,
        name: str,
        on_line: Callable[[str], Awaitable[None]],
        timeout: float,
    ) -> CommandResult:
        return await one_off.run_once(
            self._api, app.project, like, command, name=name, on_line=on_line, timeout=timeout
        )

    async def start_again(self, containers: Sequence[str]) -> None:
        await self.read_version()
        for identity in containers:
            with suppress(ContainerNotStarted):  # nothing better can be done, and the health of the app tells
                await control.start(self._api, identity)

    async def stop_containers(self, containers: Sequence[str]) -> None:
        await self.read_version()
        await asyncio.gather(*(control.stop(self._api, identity) for identity in containers))

    async def remove_containers(self, containers: Sequence[str], *, volumes: bool) -> None:
        await self.read_version()
        await asyncio.gather(*(control.remove(self._api, identity, volumes=volumes) for identity in containers))

    async def rename(self, container: str, name: str) -> None:
        await control.rename(self._api, container, name)

    async def list_anonymous_volumes(self, container: str) -> Sequence[AnonymousVolume]:
        return await control.list_anonymous_volumes(self._api, container)

    async def find_writer(self, container: str) -> Owner | None:
        return await ownership.find_writer(self._api, container)

    async def give_volumes(self, container: str, owner: Owner) -> None:
        await ownership.give_volumes(self._api, container, owner)

    async def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        await control.connect(self._api, network, container, aliases)

    async def disconnect(self, network: str, container: str) -> None:
        await control.disconnect(self._api, network, container)

    async def list_networks(self, app: AppName) -> Sequence[str]:
        return await control.list_networks(self._api, app.project)

    async def remove_network(self, name: str) -> bool:
        return await control.remove_network(self._api, name)

    async def find_image(self, reference: str) -> Image | None:
        return await control.find_image(self._api, reference)

    async def tag(self, image: str, name: str) -> None:
        await control.tag(self._api, image, name)

    async def list_images(self, prefix: str) -> Sequence[str]:
        return await control.list_images(self._api, prefix)

    async def forget_image(self, name: str) -> None:
        await control.forget_image(self._api, name)

    async def stop(self, app: AppName, *, progress: Progress) -> None:
        await self._simple(app, argv.stop(app), progress, "stopped")

    async def take_down(self, app: AppName, *, volumes: bool, progress: Progress) -> None:
        try:
            await self._simple(app, argv.take_down(app, volumes=volumes), progress, "removed")
        except DeployFailed:
            if await self.list_containers(app):
                raise
            await self._remove_rest(app, volumes=volumes)

    async def _remove_rest(self, app: AppName, *, volumes: bool) -> None:
        """Remove what Compose has left of a project without containers. A network that Docker holds on to stays."""
        for name in await self.list_networks(app):
            if not await self.remove_network(name):
                log.warning("%s: Docker does not give up the network %s: it says that somebody is in it", app, name)
        for name in await self.list_volumes(app) if volumes else ():
            await self.remove_volume(name)

    async def _simple(self, app: AppName, command: list[str], progress: Progress, done: str) -> None:
        await self.list_containers(app)  # where the engine is away, that is the answer
        output = ComposeOutput(app.project, progress, self.find_secrets(app))
        try:
            code = await follow(command, on_line=output.read_line, env=self._env, timeout=_STOP_SECONDS)
        except TimeoutError:
            output.error, code = f"It did not end within {_STOP_SECONDS} s.", 1
        if code != 0:
            await self.list_containers(app)
            said = f"The containers of {app} could not be {done}"
            raise DeployFailed(f"{said}: {make_sentence(output.reason)}", audit_message=f"{said}.")

    async def _follow(self, command: list[str], output: ComposeOutput, seconds: float) -> int:
        """Compose's exit code; what it says goes to `output`."""
        output.error = None
        try:
            return await follow(command, on_line=output.read_line, env=self._env, timeout=seconds)
        except TimeoutError:
            output.error = f"It did not end within {seconds:g} s."
            return 1

    async def _compose_failed(self, output: ComposeOutput) -> Exception:
        if output.error and _UNAVAILABLE.search(output.error):
            return EngineUnavailable(f"The Docker Engine does not answer at {self._host}.")
        await self.read_version()  # where the engine has gone meanwhile, that is the answer
        return failure.describe_other(output)

    async def _failure(
        self,
        app: AppName,
        container: Container | None,
        output: ComposeOutput,
        watch: DowntimeWatch,
        timeout: float,
    ) -> Exception:
        if container is None:
            return failure.describe_other(output)
        if watch.exit_codes.get(container.id, container.exit_code) == _KILLED:  # that it was for memory may come later
            watch.out_of_memory |= {container.id} if await self._api.has_run_out_of_memory(container.id) else set()
        check = await self._api.read_last_check(container.id) if container.health else None
        return failure.describe_container(
            container,
            output,
            watch,
            timeout=timeout,
            logs=list(await self.read_logs(app, container.id, failure.LOG_LINES)),
            check=_end(redact(check, self.find_secrets(app).texts)) if check else None,
        )


def _end(text: str) -> str:
    """The end of a long text: what it comes to stands there."""
    return text if len(text) <= _LONGEST_LINE else f"[cut]… {text[-_LONGEST_LINE:]}"


def _change(event: Mapping[str, Any]) -> ReplicaEvent:
    about = event["Actor"]["Attributes"]
    code = about.get("exitCode")
    return ReplicaEvent(
        about[PROJECT],
        event["Actor"]["ID"],
        event["Action"],
        None if code is None else int(code),
    )


def _image_services(app: AppName, compose_file: Path) -> Mapping[str, str]:
    return failure.map_images(app.project, orjson.loads(compose_file.read_bytes()))


def _folder(compose_file: Path) -> Path:
    """The app's folder, above `.ikoma/releases/ID/compose.json`."""
    return compose_file.parents[3]
