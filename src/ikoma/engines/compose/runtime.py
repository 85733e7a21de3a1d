"""The seam of the engine of one machine: apps as services with replicas, told in words that any engine can pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.engines.compose import host_ports
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.replicas import make_replicas
from ikoma.engines.compose.resolving import resolve
from ikoma.engines.compose.rollout import anonymous_volumes, one_off_commands
from ikoma.engines.compose.rollout.drift import find_differences, find_overlaps
from ikoma.engines.compose.rollout.planning import make_plan
from ikoma.engines.compose.rollout.rollout import ComposeRollouts
from ikoma.engines.docker.answers import PROJECT, VOLUME
from ikoma.engines.docker.projects import DockerProjects
from ikoma.model import AppName
from ikoma.ports.conflicts import TakenName, TakenPort
from ikoma.ports.engine_facts import EngineTraits
from ikoma.ports.images import Image
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.replicas import AppState, Replica
from ikoma.ports.rollout import CommandOutput, RolloutHooks, RolloutPlan, RolloutResult, RolloutTarget, SettlingHooks
from ikoma.ports.runtime import (
    Engine,
    EngineVersion,
    ListeningPort,
    LogLine,
    OnReplicaEvent,
    ReplicaUsage,
    Resolved,
    RestartHistory,
)
from ikoma.ports.volumes import ExistingResources, ResourceInfo, VolumeWriter
from ikoma.rollout_state import RolloutState

_LOCAL = "local"
TRAITS = EngineTraits(
    network_drivers=frozenset(("bridge",)),
    network_options=frozenset(("com.docker.network.driver.mtu", "com.docker.network.bridge.enable_icc")),
    volume_command=f"docker volume create --label {PROJECT}={{project}} --label {VOLUME}={{key}} {{name}}",
)


class ComposeRuntime:
    """Runs apps with Docker Compose on one machine."""

    def __init__(self, engine: ComposeEngine) -> None:
        self._engine = engine
        self._rollouts = ComposeRollouts(engine)

    async def close(self) -> None:
        await self._engine.close()

    async def read_version(self) -> EngineVersion:
        return await self._engine.read_version()

    async def read_traits(self) -> EngineTraits:
        return replace(TRAITS, folders=(Path(await self._engine.find_root()),))

    async def resolve(
        self, app: AppName, folder: Path, compose_files: Sequence[str], files: Mapping[str, bytes]
    ) -> Resolved:
        return await resolve(app, folder, compose_files, files)

    async def observe(self, app: App) -> AppState:
        containers = await self._engine.list_containers(app.name)
        view = RolloutState(app).read_view()
        return AppState(make_replicas(containers, view), view)

    async def plan(self, app: App, target: RolloutTarget) -> RolloutPlan:
        return await make_plan(self._engine, app, target)

    async def roll(
        self,
        app: App,
        target: RolloutTarget,
        plan: RolloutPlan,
        hooks: RolloutHooks,
        *,
        timeout: float,
        progress: Progress,
    ) -> RolloutResult:
        return await self._rollouts.roll(app, target, plan, hooks, timeout=timeout, progress=progress)

    async def recover(self, app: App, hooks: SettlingHooks, progress: Progress = ignore_progress) -> str | None:
        return await self._rollouts.recover(app, hooks, progress)

    def is_ending(self, app: App) -> bool:
        return self._rollouts.is_ending(app)

    async def end_standby(self, app: App, hooks: SettlingHooks) -> None:
        await self._rollouts.end_standby(app, hooks)

    async def stop(self, app: App, progress: Progress) -> None:
        await self._engine.stop(app.name, progress=progress)

    async def take_down(self, app: App, progress: Progress) -> None:
        await self._engine.take_down(app.name, volumes=False, progress=progress)

    async def remove(self, app: App, progress: Progress) -> None:
        await anonymous_volumes.remove_with(self._engine, app, progress)

    async def run_once(
        self,
        app: App,
        like: Replica,
        command: Sequence[str],
        *,
        timeout: float,
        progress: Progress,
        output: CommandOutput,
    ) -> int:
        return await one_off_commands.run(
            self._engine,
            app,
            like.id,
            like.service,
            command,
            timeout=timeout,
            progress=progress,
            output=output,
        )

    def has_left_command(self, app: App) -> bool:
        return one_off_commands.is_left(app)

    async def pause(self, replica: str) -> None:
        await self._engine.pause(replica)

    async def unpause(self, replica: str) -> None:
        await self._engine.unpause(replica)

    async def keeps_own_data(self, app: App, service: str) -> bool:
        containers = [item for item in await self._engine.list_containers(app.name) if item.service == service]
        return bool(await anonymous_volumes.map_held(self._engine, containers))

    async def read_restarts(self, replica: str) -> RestartHistory | None:
        return await self._engine.read_restarts(replica)

    async def list_listening_ports(self, replica: Replica) -> Sequence[ListeningPort] | None:
        return await self._engine.list_listening_ports(replica.id, replica.host)

    async def measure_usage(self, replicas: Sequence[str]) -> Mapping[str, ReplicaUsage]:
        return await self._engine.measure_usage(replicas)

    async def watch(self, on_change: OnReplicaEvent) -> None:
        await self._engine.watch(on_change)

    async def read_last_lines(self, app: AppName, replica: Replica, lines: int) -> Sequence[str]:
        return await self._engine.read_logs(app, replica.id, lines)

    async def read_log(self, replica: Replica, *, tail: int, since: float | None) -> Sequence[LogLine]:
        return await self._engine.read_log(replica.id, tail=tail, since=since)

    def follow_log(self, replica: Replica, *, since: float) -> AsyncIterator[LogLine]:
        return self._engine.follow_log(replica.id, since=since)

    async def find_taken_ports(
        self, app: AppName, model: ComposeModel, is_platform: Callable[[int], bool]
    ) -> list[TakenPort]:
        return await host_ports.find_taken_ports(self._engine, app, model, is_platform)

    async def find_taken_names(self, app: AppName, model: ComposeModel) -> list[TakenName]:
        return await host_ports.find_taken_names(self._engine, app, model)


class ComposeImages:
    """The images of one machine."""

    def __init__(self, engine: ComposeEngine) -> None:
        self._engine = engine

    async def prepare(
        self,
        app: AppName,
        compose_file: Path,
        *,
        build: Sequence[str],
        pull: Sequence[str],
        progress: Progress,
    ) -> None:
        await self._engine.prepare(app, compose_file, build=build, pull=pull, progress=progress)

    async def find(self, reference: str) -> Image | None:
        return await self._engine.find_image(reference)

    async def has(self, reference: str) -> bool:
        return await self._engine.has_image(reference)

    async def tag(self, image: str, name: str) -> None:
        await self._engine.tag(image, name)

    async def list_names(self, prefix: str) -> Sequence[str]:
        return await self._engine.list_images(prefix)

    async def forget(self, name: str) -> None:
        await self._engine.forget_image(name)

    async def check_obtainable(self, reference: str) -> str | None:
        return await self._engine.check_image_obtainable(reference)


class ComposeVolumes:
    """The volumes of one machine."""

    def __init__(self, engine: ComposeEngine) -> None:
        self._engine = engine

    async def map_owners(self) -> Mapping[str, str]:
        return await self._engine.map_owners()

    async def compare(self, app: App, model: ComposeModel) -> ExistingResources:
        there = await self._engine.list_resources()
        return ExistingResources(
            frozenset(there.volumes),
            there.owners,
            tuple(find_differences(app.name, model, there)),
            tuple(find_overlaps(app.name, model, there)),
            {
                service: {item.target: item.name for item in noted if item.name in there.volumes}
                for service, noted in anonymous_volumes.read_noted(app).items()
            },
        )

    async def list_of(self, app: App) -> Sequence[str]:
        named, anonymous = await asyncio.gather(
            self._engine.list_volumes(app.name), anonymous_volumes.list_all(self._engine, app)
        )
        return [*named, *anonymous]

    async def describe_all(self) -> Mapping[str, ResourceInfo]:
        return (await self._engine.list_resources()).volumes

    async def locate(self, name: str) -> Path | None:
        made = (await self._engine.list_resources()).volumes.get(name)
        if made is None or made.driver != _LOCAL or made.options:
            return None
        found = Path(await self._engine.find_root()) / "volumes" / name / "_data"
        return found if await asyncio.to_thread(found.is_dir) and not found.is_symlink() else None

    def describe_new(self, project: str, key: str) -> ResourceInfo:
        return ResourceInfo(project, _LOCAL, labels={PROJECT: project, VOLUME: key})

    def describe_as_of(self, project: str, made: ResourceInfo) -> ResourceInfo:
        labels = {**made.labels, PROJECT: project} if PROJECT in made.labels else made.labels
        return replace(made, project=project, labels=labels)

    async def list_writers(self, name: str) -> Sequence[VolumeWriter]:
        return await self._engine.api.list_writers(name)

    async def list_holders(self, app: AppName, name: str) -> Sequence[str]:
        return await self._engine.list_volume_holders(app, name)

    async def remove(self, name: str) -> None:
        await self._engine.remove_volume(name)

    async def load(self, app: AppName, volume: str, made: ResourceInfo, source: Path) -> None:
        await self._engine.load_volume(app, volume, made, source)

    async def save(self, app: AppName, volume: str, target: Path) -> int:
        return await self._engine.save_volume(app, volume, target)


def assemble(engine: ComposeEngine) -> Engine:
    """Put the parts of the engine together."""
    return Engine(ComposeRuntime(engine), ComposeImages(engine), ComposeVolumes(engine), DockerProjects(engine.api))
