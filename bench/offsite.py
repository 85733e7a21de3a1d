"""A backup on its way off this machine: sealed with age, sent to a real S3 server on loopback, read back there."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyrage

from bench.figures import Figure, at_least, at_most
from bench.world import World, took
from ikoma.apps.offsite.offsite import Offsite
from tests.offsite.places import s3_server

_RATE, _GROWTH_MIB = 150.0, 64
_SIZE = 512 << 20


def offsite(world: World) -> Iterator[Figure]:
    """The child process is the one that the server uses; its memory is compared with what it has for a small backup."""
    with tempfile.TemporaryDirectory() as made, s3_server(Path(made) / "s3") as server:
        folder = Path(made)
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        sender = Offsite(server.place("ready", recipient), folder / "state", folder / "backups.key")
        small, large = folder / "small", folder / "large"
        small.write_bytes(b"rows")
        with large.open("wb") as stream:
            for _ in range(_SIZE >> 20):
                stream.write(os.urandom(1 << 20))
        base = _send(sender, "small", small)[1]
        rates, peaks = [], []
        for number in range(world.rounds):
            seconds, peak = _send(sender, f"large-{number}", large)
            rates.append(_SIZE / 1e6 / seconds)
            peaks.append((peak - base) / (1 << 20))
            asyncio.run(sender.delete("bench", f"large-{number}"))
        shown = f"{statistics.median(rates):.0f} MB/s ({min(rates):.0f}–{max(rates):.0f}), read back meanwhile"
        what = f"a backup of {_SIZE / 1e6:.0f} MB, encrypted and sent to S3 on loopback"
        yield at_least(what, statistics.median(rates), _RATE, " MB/s", ours=shown)
        yield at_most(
            "the same, growth of the sender's memory", max(peaks), _GROWTH_MIB, " MiB", ours=f"{base >> 20} MiB before"
        )


def _send(sender: Offsite, name: str, file: Path) -> tuple[float, int]:
    """Seconds, and the peak memory of the child in bytes."""
    peak = [0]
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(peak, ended))
    watching.start()
    try:
        seconds = took(lambda: asyncio.run(sender.send("bench", name, "2026-01-01T00:00:00Z", {name: file})))
    finally:
        ended.set()
        watching.join()
    return seconds, peak[0]


def _watch(peak: list[int], ended: threading.Event) -> None:
    """Note the highest VmHWM of the children that are senders."""
    while not ended.wait(0.05):
        for child in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, StopIteration):
                if b"ikoma.apps.offsite.worker" in (child / "cmdline").read_bytes():
                    lines = (child / "status").read_text().splitlines()
                    told = next(line for line in lines if line.startswith("VmHWM:"))
                    peak[0] = max(peak[0], int(told.split()[1]) << 10)
