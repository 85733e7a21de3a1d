"""Follows Docker's events of one project during a deploy: who serves since when, and who keeps dying."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Self

from ikoma.engines.docker.answers import JOBS, KIND
from ikoma.engines.docker.containers import Container
from ikoma.engines.docker.docker_api import DockerApi

_CRASHES = 3
_CRASHES_OF_A_JOB = 6
"""A job may need a few attempts, until what it works with has come up."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """An event of a container; `at` is nanoseconds of the engine's clock."""

    at: int
    container: str
    service: str
    action: str
    exit_code: int | None = None


class DowntimeWatch:
    """Notices crash loops and measures downtime while the block runs.

    Args:
        before: the project's containers as it begins.
    """

    def __init__(self, api: DockerApi, project: str, before: Sequence[Container]) -> None:
        self._api = api
        self._project = project
        self._before = before
        self._events: list[ContainerEvent] = []
        self._started: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._heard = asyncio.Event()
        self._following = AsyncExitStack()
        self.crashing: set[str] = set()
        """Containers, by id, that keep dying: also those of what served before, which have their own reasons."""
        self.exit_codes: dict[str, int] = {}
        """The last exit code of each container, by id, that ended meanwhile."""
        self.out_of_memory: set[str] = set()
        """Containers, by id, that needed more memory than they may have."""

    async def __aenter__(self) -> Self:
        events = await self._following.enter_async_context(self._api.follow_events(self._project))
        noting = asyncio.ensure_future(self._note_all(events))
        self._following.push_async_callback(asyncio.wait, [noting])
        self._following.callback(noting.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._following.aclose()

    async def wait(self, seconds: float) -> bool:
        """Wait for an event that came since the last wait, for at most so long; whether there is one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def note_start(self, container: str) -> None:
        """Count from now: Docker's own event of this start may come after the list that shows it running."""
        self._started[container] = time.monotonic()

    def measure_since_start(self, container: Container) -> float:
        """The seconds since a container started; very many when it was not during this block."""
        started = self._started.get(container.id)
        return float("inf") if started is None else time.monotonic() - started

    def measure_downtime_ms(self, after: Sequence[Container]) -> int:
        """The longest time any service was away that served before and is there after, in milliseconds."""
        return measure_downtime_ns(self._before, self._events, after, time.time_ns()) // 1_000_000

    async def _note_all(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            self._note(event)

    def _note(self, said: dict[str, Any]) -> None:
        attributes = said["Actor"]["Attributes"]
        code = attributes.get("exitCode")
        event = ContainerEvent(
            at=said["timeNano"],
            container=said["Actor"]["ID"],
            service=attributes.get("com.docker.compose.service", ""),
            action=said["Action"],
            exit_code=None if code is None else int(code),
        )
        self._events.append(event)
        self._heard.set()
        if event.action == "start":
            self.note_start(event.container)
        elif event.action == "oom":
            self.out_of_memory.add(event.container)
        elif event.action == "die":
            self._note_death(event, _CRASHES_OF_A_JOB if attributes.get(KIND) in JOBS else _CRASHES)

    def _note_death(self, event: ContainerEvent, most: int) -> None:
        """Count a death: one container that dies so often does not do so because Compose stopped it."""
        self.exit_codes[event.container] = event.exit_code or 0
        self._deaths[event.container] += 1
        if self._deaths[event.container] >= most:
            self.crashing.add(event.container)


def measure_downtime_ns(
    before: Iterable[Container], events: Iterable[ContainerEvent], after: Sequence[Container], now: int
) -> int:
    """The longest time, in nanoseconds, that a service which served before had no container that serves.

    A container with a healthcheck serves once it is healthy, one without once it has started. Those of before have the
    requests already, also while they are starting again.
    """
    serving: dict[str, set[str]] = defaultdict(set)
    for item in before:
        if item.state == "running" and item.health != "unhealthy":
            serving[item.service].add(item.id)
    there = {item.service for item in after if not item.is_done}
    served = set(serving) & there
    unchecked = {item.id for item in after if item.health is None}
    down_since: dict[str, int] = {}
    longest = 0
    for event in events:
        if event.service not in served:
            continue
        alive = serving[event.service]
        if event.action == "die":
            alive.discard(event.container)
            if not alive:
                down_since.setdefault(event.service, event.at)
        elif event.action == "health_status: healthy" or (event.action == "start" and event.container in unchecked):
            alive.add(event.container)
            if event.service in down_since:
                longest = max(longest, event.at - down_since.pop(event.service))
    return max([longest, *(now - since for since in down_since.values())])
