"""Follows Docker's events of one project during a deploy: who serves since when, and who keeps dying."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

import aiodocker
import aiohttp

_CRASHES = 3


class Watch:
    """Measures downtime and notices crash loops while the block runs.

    Args:
        before: services that were running when it began; only these can have downtime.
    """

    def __init__(self, docker_host: str, project: str, before: Iterable[str]) -> None:
        self._docker = aiodocker.Docker(url=docker_host)
        self._project = project
        self._before = set(before)
        self._down_since: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._healthy: dict[str, int] = {}
        self._crashes: Counter[str] = Counter()
        self._following: asyncio.Task[None] | None = None
        self.crashed = asyncio.Event()
        self.crash: tuple[str, int] | None = None
        """The service that keeps dying, and its exit code."""

    async def __aenter__(self) -> Self:
        self._following = asyncio.ensure_future(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._following is not None
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._docker.close()

    def downtime_ms(self) -> int:
        """The longest time that a service which ran before was away, in milliseconds."""
        longest = 0
        for service, since in self._down_since.items():
            # A container with a healthcheck serves when it is healthy, one without when it has started.
            back = self._healthy.get(service) or self._started.get(service)
            if service in self._before and back is not None and back > since:
                longest = max(longest, back - since)
        return longest // 1_000_000

    async def _follow(self) -> None:
        subscriber = self._docker.events.subscribe(create_task=False)  # type: ignore[no-untyped-call]
        filters = json.dumps({"type": ["container"], "label": [f"com.docker.compose.project={self._project}"]})
        running = asyncio.ensure_future(self._docker.events.run(filters=filters))
        try:
            while (event := await subscriber.get()) is not None:
                self._note(event)
        except (aiohttp.ClientError, aiodocker.DockerError, OSError):
            return  # the deploy itself will say that Docker is away
        finally:
            running.cancel()
            await asyncio.wait([running])

    def _note(self, event: dict[str, Any]) -> None:
        attributes, action, now = event["Actor"]["Attributes"], event["Action"], event["timeNano"]
        service = attributes.get("com.docker.compose.service", "")
        if action == "die":
            self._down_since.setdefault(service, now)
            self._healthy.pop(service, None)
            self._note_exit(service, int(attributes.get("exitCode", 0)))
        elif action == "start":
            self._started[service] = now
        elif action == "health_status: healthy":
            self._healthy[service] = now

    def _note_exit(self, service: str, code: int) -> None:
        if code in (0, 137, 143):
            return
        self._crashes[service] += 1
        if self._crashes[service] >= _CRASHES and self.crash is None:
            self.crash = (service, code)
            self.crashed.set()
