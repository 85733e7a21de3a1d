"""Reads by 16 clients, beside spawning `docker compose ps` for each call, and beside a bare route of Starlette."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from bench.bare import serve_bare
from bench.figures import Figure, at_least, at_most, rate
from bench.load import Load, call, post, spawn
from bench.world import CLIENTS, World, compose, docker_environment

_LIVE = ("apps.status", "apps.health", "artifact.verify_release")
_TIMES = {"apps.status": 50, "apps.health": 50, "artifact.verify_release": 8}
_OVER_BARE = {"apps.status": 0.3, "apps.health": 0.3, "artifact.verify_release": 0.1, "platform.info": 0.5}
_P99_MS = 50


def reads(world: World) -> Iterator[Figure]:
    """Each round measures every capability and the alternative, one after the other."""
    app = world.app()
    spawning = compose("-p", app, "ps", "--format", "json")
    environment = docker_environment(world.server)
    spawned: list[Load] = []
    bare: list[Load] = []
    loads: dict[str, list[Load]] = {name: [] for name in (*_LIVE, "platform.info")}
    with serve_bare() as (url, key):
        for _ in range(world.rounds):
            spawned.append(spawn(spawning, environment=environment, clients=CLIENTS, seconds=world.seconds))
            for name, taken in loads.items():
                arguments = {"appName": app} if name in _LIVE else {}
                taken.append(call(world.server, name, arguments, clients=CLIENTS, seconds=world.seconds))
                body, headers = json.dumps(arguments), {"X-Api-Key": key}
                bare.append(post(url, body, headers, clients=CLIENTS, seconds=world.seconds))
    beside = [load.rate for load in spawned]
    for name in _LIVE:
        ours = [load.rate for load in loads[name]]
        times = statistics.median(ours) / statistics.median(beside)
        what = f"{name}, {CLIENTS} clients, rate over spawning `docker compose ps`"
        yield at_least(what, times, _TIMES[name], "×", ours=rate(ours), beside=rate(beside))
        p99 = statistics.median(load.p99 for load in loads[name])
        beside_p99 = f"{statistics.median(load.p99 for load in spawned):.0f} ms"
        if name in ("apps.status", "apps.health"):
            yield at_most(f"{name}, p99", p99, _P99_MS, " ms", ours=f"{p99:.1f} ms", beside=beside_p99)
    for name, least in _OVER_BARE.items():
        ours, yardstick = [load.rate for load in loads[name]], [load.rate for load in bare]
        times = statistics.median(ours) / statistics.median(yardstick)
        what = f"{name}, {CLIENTS} clients, rate over a bare Starlette route"
        yield at_least(what, times, least, "×", ours=rate(ours), beside=rate(yardstick))
