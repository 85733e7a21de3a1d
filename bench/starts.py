"""How long `ikoma up` takes to its first healthy answer, what the server keeps in memory, and two commands."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator

from bench.figures import Figure, at_most, seconds
from bench.world import World, processor_seconds, proportional_memory, status_field, took
from tests.support import IKOMA

_START_SECONDS, _START_PROCESSOR, _IDLE_MIB, _HELP_SECONDS, _STATUS_SECONDS = 2.5, 1.2, 95, 0.3, 0.25
_MIB = 1 << 20


def starts(world: World) -> Iterator[Figure]:
    """The server is stopped and started on its folders, an app with a database among them."""
    app = world.app()
    taken: list[float] = []
    worked: list[float] = []
    for _ in range(world.rounds):
        world.server.stop()
        taken.append(took(world.server.start))
        worked.append(processor_seconds(world.pid))
        assert world.server.get("/health").body["status"] == "healthy"
    what = "`ikoma up` to the first healthy answer, second start"
    yield at_most(what, statistics.median(taken), _START_SECONDS, " s", ours=seconds(taken))
    what = "the same, processor time of the server process"
    yield at_most(what, statistics.median(worked), _START_PROCESSOR, " s", ours=seconds(worked))
    for capability in ("platform.check", "apps.list"):
        world.server.do(capability)
    world.server.do("apps.status", {"appName": app})
    time.sleep(world.seconds)
    resident = status_field(world.pid, "VmRSS") / _MIB
    share = proportional_memory(world.pid) / _MIB
    yield at_most("idle memory of the server process", resident, _IDLE_MIB, " MiB", ours=f"its share: {share:.0f} MiB")


def commands(world: World) -> Iterator[Figure]:
    """From the command to the end of its process, as a person waits for it."""
    for arguments, most in (("--help",), _HELP_SECONDS), (("status", world.app()), _STATUS_SECONDS):
        argv = [IKOMA, *arguments]
        taken = [
            took(lambda: subprocess.run(argv, env=world.server.env, check=True, capture_output=True))  # noqa: B023
            for _ in range(world.rounds * 3)
        ]
        yield at_most(f"`ikoma {arguments[0]}`", statistics.median(taken), most, " s", ours=seconds(taken))
