"""Changing calls with an audit log that is on the disk before they act, against the same that wait for no disk."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.figures import Figure, at_least, rate
from bench.load import call
from bench.world import World, ratio
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.model import Role
from tests.unit.kernel.small_pipeline import DONE, House

_CALLERS = 64
_RATE, _RATIO = 1000, 0.7


class _Hasty(AuditLog):
    """Writes the same entries in the same order, and leaves it to the kernel when they reach the disk."""

    async def append_durably(self, entry: AuditEntry) -> None:
        self.append(entry)


def audit(world: World) -> Iterator[Figure]:
    """Durable and hasty alternate: each round is a pipeline in a folder of its own, with callers on different apps."""
    ours: list[float] = []
    beside: list[float] = []
    for _ in range(world.rounds):
        ours.append(_in_process(AuditLog, world.seconds))
        beside.append(_in_process(_Hasty, world.seconds))
    world.server.do("apps.init", {"appName": world.name("audit")})
    ended = world.server.do("operations.list")["operations"][0]["id"]
    over_http = [_over_http(world, ended) for _ in range(world.rounds)]
    named = f"changing calls, {_CALLERS} callers, intent on the disk before each acts"
    shown = f"{rate(ours)}; over HTTP, operations.cancel: {rate(over_http)}"
    yield at_least(named, statistics.median(ours), _RATE, "/s", ours=shown)
    what = "the same, rate over an audit log that doesn't wait for the disk"
    yield at_least(what, ratio(ours, beside), _RATIO, "×", ours=rate(ours), beside=rate(beside))


def _in_process(kind: type[AuditLog], seconds: float) -> float:
    """Calls per second through the whole pipeline, of a capability that does nothing itself."""
    with tempfile.TemporaryDirectory(prefix="ikoma-bench-") as folder:
        return uvloop.run(_called(House(Path(folder), most=1_000_000_000, log=kind), seconds))


async def _called(house: House, seconds: float) -> float:
    key = house.key(Role.BUILDER)
    DONE.clear()
    began = time.perf_counter()

    async def caller(app: str) -> None:
        while time.perf_counter() - began < seconds:
            await house.call("test.write", {"appName": app}, key=key)

    await asyncio.gather(*(caller(f"app-{number}") for number in range(_CALLERS)))
    return len(DONE) / (time.perf_counter() - began)


def _over_http(world: World, ended: str) -> float:
    """Calls per second that a whole server answers: to cancel an operation that has ended, which changes nothing."""
    arguments = {"operationId": ended}
    return call(world.server, "operations.cancel", arguments, clients=_CALLERS, seconds=world.seconds).rate
