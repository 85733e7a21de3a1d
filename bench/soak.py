"""Load that lasts: clients that read, some of whom go away unanswered, while apps deploy, back up and migrate.

`python -m bench.soak --seconds 3600` prints what the server process holds (memory, descriptors, threads) at intervals,
and at the end whether it lived and stayed level. The exit code is 1 where it did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.world import World, world
from tests.apps import COMPOSE, make_app
from tests.images import busybox_image

READS = (
    *("apps.status", "apps.health") * 10,  # what is polled
    *("apps.logs", "db.status", "release.list") * 2,
    *("apps.validate", "artifact.verify_release", "deploy.plan"),
)
_GIVEN_UP = 0.05
"""The part of requests whose client goes away before the answer."""
_MOST_MORE = {"memory": 1.15, "descriptors": 1.25, "threads": 1.25}
"""How much more the last quarter of a run may hold than the second, by the median."""
_READ_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """Resources of the server process at a moment; memory in MiB."""

    second: float
    memory: float
    descriptors: int
    threads: int


@dataclass
class Soak:
    """A run: its samples, what clients got (by status), what deploys came to, and how the server ended, if it did."""

    samples: list[Sample] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    deploys: Counter[str] = field(default_factory=Counter)
    exit_code: int | None = None

    @property
    def lived(self) -> bool:
        return self.exit_code is None

    def grown(self) -> list[str]:
        """List what the last quarter of the run holds more of than the second, beyond what is allowed."""
        quarter = len(self.samples) // 4
        if not quarter:
            return []
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        found = []
        for name, most in _MOST_MORE.items():
            before, after = (statistics.median(getattr(sample, name) for sample in part) for part in (early, late))
            if after > before * most:
                found.append(f"{name}: {before:.0f} → {after:.0f}")
        return found


def soak(world: World, *, seconds: float, readers: int, apps: int, every: float) -> Iterator[Soak]:
    """Load the server; the run as it is after each sample, and once more when all clients have ended."""
    run, over = Soak(), threading.Event()
    names = [_deployed(world, number) for number in range(apps)]
    working = [threading.Thread(target=_deploy_on, args=(world, name, run, over)) for name in names] + [
        threading.Thread(target=lambda: asyncio.run(_read_on(world, names, readers, run, over)))
    ]
    for thread in working:
        thread.start()
    try:
        process, began = psutil.Process(world.pid), time.monotonic()
        while run.lived and time.monotonic() - began < seconds:
            over.wait(min(every, seconds))
            run.exit_code = _ended(world)
            if run.lived:
                run.samples.append(_sample(process, time.monotonic() - began))
                yield run
    finally:
        over.set()
        for thread in working:
            thread.join()
    run.exit_code = _ended(world)
    yield run


def _ended(world: World) -> int | None:
    assert world.server.process is not None
    return world.server.process.poll()


def _sample(process: psutil.Process, second: float) -> Sample:
    with process.oneshot():
        return Sample(second, process.memory_info().rss / (1 << 20), process.num_fds(), process.num_threads())


def _deployed(world: World, number: int) -> str:
    """A deployed app with a database and a migration."""
    name = world.name(f"soak{number}")
    folder = make_app(world.server, name)
    (folder / "migrations" / "001_things.sql").write_text("CREATE TABLE things (id int PRIMARY KEY);\n")
    for capability in ("db.create", "deploy.up"):
        world.server.do(capability, {"appName": name})
    return name


def _deploy_on(world: World, name: str, run: Soak, over: threading.Event) -> None:
    """Deploy a changed app again and again; every fifth time with a migration and a backup by name."""
    folder, turn = world.server.apps / name, 0
    while not over.is_set():
        turn += 1
        _change(folder, turn)
        calls: list[tuple[str, dict[str, str]]] = [("deploy.up", {"appName": name})]
        if turn % 5 == 0:
            (folder / "migrations" / f"{turn + 1:06}_more.sql").write_text(f"INSERT INTO things VALUES ({turn});\n")
            calls.append(("db.backup", {"appName": name, "backupName": f"{name}-{turn}.sql"}))
        for capability, arguments in calls:
            with suppress(OSError):  # the server is gone: the run says so
                answer = world.server.call(capability, arguments)
                run.deploys[f"{capability} {'done' if answer.status == 200 else answer.code}"] += 1
                continue
            over.wait(1)


def _change(folder: Path, turn: int) -> None:
    text = COMPOSE.format(image=busybox_image(), command='["httpd", "-f", "-p", "3000", "-h", "/www"]', health="/ok")
    added = f"    environment: {{VERSION: '{turn}'}}\n    restart:"
    (folder / "docker-compose.yml").write_text(text.replace("    restart:", added))


async def _read_on(world: World, names: Sequence[str], readers: int, run: Soak, over: threading.Event) -> None:
    await asyncio.gather(*(_reader(world, names, random.Random(number), run, over) for number in range(readers)))


async def _reader(world: World, names: Sequence[str], chance: random.Random, run: Soak, over: threading.Event) -> None:
    """A client that reads one thing after the other, and goes on over a new connection where it broke off."""
    while not over.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
        except OSError:
            run.answers["no connection"] += 1
            await asyncio.sleep(0.2)
            continue
        try:
            while not over.is_set() and chance.random() >= _GIVEN_UP:
                writer.write(_request(world, chance.choice(READS), chance.choice(names)))
                async with asyncio.timeout(_READ_SECONDS):
                    run.answers[await _status(reader)] += 1
            writer.write(_request(world, chance.choice(READS), chance.choice(names)))
            await asyncio.sleep(chance.random() / 20)
            run.answers["given up"] += 1
        except (OSError, EOFError, TimeoutError) as error:
            run.answers[type(error).__name__] += 1
        finally:
            writer.transport.abort()


def _request(world: World, capability: str, name: str) -> bytes:
    body = json.dumps({"appName": name}).encode()
    head = (
        f"POST /execute/{capability} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {world.server.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0]))
    return head.split(b" ", 2)[1].decode()


def _line(sample: Sample, run: Soak) -> str:
    answers = ", ".join(f"{name} {count}" for name, count in sorted(run.answers.items()))
    deploys = ", ".join(f"{name} {count}" for name, count in sorted(run.deploys.items()))
    return (
        f"{sample.second:6.0f} s  {sample.memory:6.1f} MiB  {sample.descriptors:4} descriptors"
        f"  {sample.threads:3} threads  | {answers} | {deploys}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Load a server for a long time.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--readers", type=int, default=64)
    parser.add_argument("--apps", type=int, default=3)
    parser.add_argument("--every", type=float, default=60, help="seconds between two samples")
    options = parser.parse_args()
    run = Soak()
    with world(quick=False) as made:
        for run in soak(made, seconds=options.seconds, readers=options.readers, apps=options.apps, every=options.every):
            print(_line(run.samples[-1], run) if run.samples else "no sample", flush=True)
        if not run.lived:
            print(made.server.log()[-4000:])
            made.server.process = None
    grown = run.grown()
    print(f"lived: {run.lived}" + ("" if run.lived else f" (ended with {_how(run.exit_code)})"))
    print("level: " + ("yes" if not grown else ", ".join(grown)))
    return 0 if run.lived and not grown else 1


def _how(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


if __name__ == "__main__":
    sys.exit(main())
