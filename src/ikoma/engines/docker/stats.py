"""Reads what running containers take of the machine: two looks of the engine, a moment apart."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import aiodocker

from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT
from ikoma.ports.runtime import ReplicaUsage

_APART = 0.7
"""Seconds between the two: the engine itself would take two."""
_AT_ONCE = 16
_ONE_LOOK = {"stream": "0", "one-shot": "1"}


async def read_usage(api: DockerApi, containers: Sequence[str]) -> Mapping[str, ReplicaUsage]:
    """The usage of each of these containers now; those that do not run are left out."""
    first = await _look(api, containers)
    await asyncio.sleep(_APART)
    second = await _look(api, list(first))
    return {identity: _compute_usage(first[identity], shown) for identity, shown in second.items()}


async def _look(api: DockerApi, containers: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(docker: aiodocker.Docker, identity: str) -> Mapping[str, Any] | None:
        try:
            async with turns:
                shown: Mapping[str, Any] = await docker._query_json(f"containers/{identity}/stats", params=_ONE_LOOK)
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return None
        return shown if shown.get("memory_stats") else None  # it has ended

    async with api.connect() as docker:
        found = await asyncio.gather(*(ask(docker, identity) for identity in containers))
    return {identity: shown for identity, shown in zip(containers, found, strict=True) if shown is not None}


def _compute_usage(before: Mapping[str, Any], now: Mapping[str, Any]) -> ReplicaUsage:
    seconds = (_parse_moment(now["read"]) - _parse_moment(before["read"])).total_seconds()
    worked = now["cpu_stats"]["cpu_usage"]["total_usage"] - before["cpu_stats"]["cpu_usage"]["total_usage"]
    memory = now["memory_stats"]
    return ReplicaUsage(
        cpu_percent=max(0.0, worked / 1e7 / seconds) if seconds > 0 else 0.0,
        memory_bytes=max(0, int(memory.get("usage") or 0) - _measure_cache(memory.get("stats") or {})),
        memory_limit_bytes=int(memory.get("limit") or 0),
    )


def _measure_cache(stats: Mapping[str, int]) -> int:
    """Files in memory that are let go of where it is needed: version 1 and 2 of cgroups name them otherwise."""
    return int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))


def _parse_moment(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))
