"""Starts containers in the order in which they need each other, and sees each of them stand.

Compose's own rules: a service starts when those it depends on have started, are healthy or have ended well. Only the
containers named here count: what a project has besides, such as those of an earlier release, is neither waited for
nor started.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ikoma.engines.compose import failure
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.progress import ComposeOutput
from ikoma.engines.docker import control
from ikoma.engines.docker.containers import Container, ContainerNotStarted
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.ports.progress import Progress

_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two looks. Docker tells of an end before it lists it, so that the first ones follow an event soon."""
_STAND_SECONDS = 1.0
"""How long a container without a healthcheck must run before it counts as running."""


@dataclass(frozen=True, slots=True)
class ServiceStart:
    """The containers of one service that are to be started, and what must be true before."""

    service: str
    containers: tuple[str, ...]
    after: Mapping[str, str] = field(default_factory=dict)
    """service → service_started, service_healthy or service_completed_successfully."""
    first: Callable[[], Awaitable[None]] | None = None
    """Step to do immediately before, such as stopping the container it replaces."""


class ContainerStuck(Exception):
    """Something does not come up: `container` is the one to blame."""

    def __init__(self, container: Container | None) -> None:
        super().__init__(container)
        self.container = container


class Startup:
    """One attempt to bring containers up.

    Args:
        kept: ids of containers that run already and count as started.
        output: takes the engine's reason where a container cannot be started.
    """

    def __init__(
        self, api: DockerApi, project: str, watch: DowntimeWatch, output: ComposeOutput, kept: Collection[str]
    ) -> None:
        self._api = api
        self._project = project
        self._watch = watch
        self._output = output
        self._ours = set(kept)
        self._told: dict[str, str] = {}

    async def run(self, starts: Sequence[ServiceStart], *, timeout: float, progress: Progress) -> Sequence[Container]:
        """Start all, and return how they are once all stand.

        Raises:
            Stuck: one is not as it has to be, and will not become so.
        """
        deadline = time.monotonic() + timeout
        waiting = list(starts)
        wanted = _all_of(starts)
        self._ours |= wanted
        pause = _PAUSE
        while True:
            containers = [item for item in await self._containers() if item.id in self._ours]
            self._tell([item for item in containers if item.id in wanted], progress)
            self._refuse_failed(containers, wanted, waiting)
            unstarted = _all_of(waiting)
            ready = [start for start in waiting if self._may_start(start, containers, unstarted)]
            for start in ready:
                await self._start(start, containers)
                waiting.remove(start)
            if not (ready or waiting) and all(self._stands(item) for item in containers if item.id in wanted):
                return containers
            if time.monotonic() >= deadline:
                raise ContainerStuck(self._slowest(containers, wanted))
            if not ready:
                heard = await self._watch.wait(min(pause, self._until_one_stands(containers, wanted)))
                pause = _PAUSE if heard else min(2 * pause, _LONGEST_PAUSE)

    async def _containers(self) -> Sequence[Container]:
        return (await self._api.list_containers(self._project)).get(self._project, ())

    async def _start(self, start: ServiceStart, containers: Sequence[Container]) -> None:
        if start.first is not None:
            await start.first()
        for identity in start.containers:
            try:
                await control.start(self._api, identity)
                self._watch.note_start(identity)
            except ContainerNotStarted as error:
                self._output.note_not_started(identity, str(error))
                raise ContainerStuck(next((item for item in containers if item.id == identity), None)) from error

    def _may_start(self, start: ServiceStart, containers: Sequence[Container], unstarted: Collection[str]) -> bool:
        return all(self._holds(name, condition, containers, unstarted) for name, condition in start.after.items())

    def _holds(self, service: str, condition: str, containers: Sequence[Container], unstarted: Collection[str]) -> bool:
        found = [item for item in containers if item.service == service]
        if any(item.id in unstarted for item in found):  # what it shows is of an earlier life
            return False
        if condition == "service_completed_successfully":
            return all(item.state == "exited" and item.exit_code == 0 for item in found)
        if condition == "service_healthy":
            return all(item.state == "running" and item.health in (None, "healthy") for item in found)
        return all(item.state not in ("created", "removing") for item in found)

    def _refuse_failed(
        self, containers: Sequence[Container], wanted: Collection[str], waiting: Sequence[ServiceStart]
    ) -> None:
        unstarted = _all_of(waiting)
        for item in containers:
            if item.id not in wanted or item.id in unstarted:
                continue
            if item.id in self._watch.crashing or (_has_failed(item) and not self._comes_back(item)):
                raise ContainerStuck(item)

    def _comes_back(self, item: Container) -> bool:
        """Docker starts a container again that has a restart policy; it shows as running or restarting then."""
        return item.state in ("running", "restarting") and (item.is_job or item.health != "unhealthy")

    def _stands(self, item: Container) -> bool:
        if item.one_shot:
            return item.state == "exited" and item.exit_code == 0
        if item.is_done:
            return True
        if item.state != "running":
            return False
        if item.health is not None:
            return item.health == "healthy"
        return self._watch.measure_since_start(item) >= _STAND_SECONDS

    def _until_one_stands(self, containers: Sequence[Container], wanted: Collection[str]) -> float:
        """The seconds until a container that only has to run will have stood for long enough; very many without one."""
        passed = (
            self._watch.measure_since_start(item)
            for item in containers
            if item.id in wanted and item.state == "running" and item.health is None
        )
        return min((_STAND_SECONDS - seconds for seconds in passed if seconds < _STAND_SECONDS), default=float("inf"))

    def _slowest(self, containers: Sequence[Container], wanted: Collection[str]) -> Container | None:
        late = [item for item in containers if item.id in wanted and not self._stands(item)]
        return min(late, key=failure.rank, default=None)

    def _tell(self, containers: Sequence[Container], progress: Progress) -> None:
        for item in containers:
            said = _said(item)
            if said is not None and self._told.get(item.id) != said:
                self._told[item.id] = said
                progress(f"{item.service}: {said}")


def _all_of(starts: Sequence[ServiceStart]) -> set[str]:
    return {identity for start in starts for identity in start.containers}


def _has_failed(item: Container) -> bool:
    if item.one_shot:
        return item.state in ("exited", "dead") and item.exit_code != 0
    if item.is_done:
        return False
    if item.state in ("exited", "dead", "removing"):
        return True
    return item.health == "unhealthy" and not item.is_job  # a job may still end well: it has all the time there is


def _said(item: Container) -> str | None:
    if item.state == "running":
        return {"starting": "waiting for health", None: "running"}.get(item.health, item.health)
    if item.is_done:
        return "done"
    return "restarting" if item.state == "restarting" else None
