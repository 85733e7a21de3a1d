"""A backup on its way off this machine: sealed with age, sent to a real S3 server on loopback, read back there."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyrage

from bench.figures import Figure, at_least, at_most
from bench.world import World, processor_seconds, took
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.offsite.packing import PART_BYTES
from ikoma.apps.offsite.s3_store import S3Store
from ikoma.offsite_place import OffsitePlace
from tests.offsite.odd_service import OddService
from tests.offsite.places import s3_server

_RATE, _GROWTH_MIB, _OVER_PLAIN = 150.0, 64, 0.75
_SIZE = 512 << 20


def offsite(world: World) -> Iterator[Figure]:
    """The child process is the one that the server uses; its memory is compared with what it has for a small backup.

    Two stores: one that only keeps bytes in memory shows what the sender does, SeaweedFS what is left of that where a
    store works for each byte; and there the same client writes and reads the same bytes as they are.
    """
    with (
        tempfile.TemporaryDirectory() as made,
        s3_server(Path(made) / "s3") as server,
        _memory_store() as port,
    ):
        folder = Path(made)
        small, large = folder / "small", folder / "large"
        small.write_bytes(b"rows")
        with large.open("wb") as stream:
            for _ in range(_SIZE >> 20):
                stream.write(os.urandom(1 << 20))
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        real = server.place("ready", recipient)
        bare = replace(real, host="bucket", endpoint=f"http://127.0.0.1:{port}")
        to_real, to_bare = _Sending(real, folder / "real", small), _Sending(bare, folder / "bare", small)
        plain: list[float] = []
        store = processor_seconds(server.process.pid)
        for number in range(world.rounds):
            to_bare.send(f"large-{number}", large)
            to_real.send(f"large-{number}", large)
            plain.append(_SIZE / 1e6 / took(lambda: _copy_plainly(real, large)))
        store = (processor_seconds(server.process.pid) - store) / (2 * world.rounds * _SIZE / 1e9)
        what = f"a backup of {_SIZE / 1e6:.0f} MB, encrypted, sent to S3 on loopback and read back"
        bare_rate, rate, beside = (statistics.median(rates) for rates in (to_bare.rates, to_real.rates, plain))
        shown = f"{_show(to_bare.rates)}; {statistics.median(to_bare.processor):.1f} ms of a core for each MB"
        yield at_least(f"{what}: a store that only keeps it in memory", bare_rate, _RATE, " MB/s", ours=shown)
        shown = f"{_show(to_real.rates)}; SeaweedFS takes {store:.1f} ms of a core for each MB"
        yield at_least(f"{what}: SeaweedFS", rate, _RATE, " MB/s", ours=shown)
        yield at_least(
            "the same, over the plain client without encryption",
            rate / beside,
            _OVER_PLAIN,
            "×",
            ours=_show(to_real.rates),
            beside=_show(plain),
        )
        grown = (max(to_real.peaks) - to_real.base) / (1 << 20)
        shown = f"{to_real.base >> 20} MiB before"
        yield at_most("the same, growth of the sender's memory", grown, _GROWTH_MIB, " MiB", ours=shown)


class _Sending:
    """Backups sent to one place: rates in MB/s, processor time of the sender in ms per MB, peaks in bytes."""

    def __init__(self, place: OffsitePlace, folder: Path, small: Path) -> None:
        self.rates: list[float] = []
        self.processor: list[float] = []
        self.peaks: list[int] = []
        self._sender = Offsite(place, folder, folder / "backups.key")
        self._begun = 0.0
        _, self._begun, self.base = self._send("small", small)

    def send(self, name: str, file: Path) -> None:
        seconds, processor, peak = self._send(name, file)
        self.rates.append(_SIZE / 1e6 / seconds)
        self.processor.append((processor - self._begun) * 1e9 / _SIZE)
        self.peaks.append(peak)
        asyncio.run(self._sender.delete("bench", name))

    def _send(self, name: str, file: Path) -> tuple[float, float, int]:
        """Seconds, seconds of a core, and the peak memory of the child."""
        peak = [0]
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(peak, ended))
        watching.start()
        before = _children_seconds()
        try:
            made = "2026-01-01T00:00:00Z"
            seconds = took(lambda: asyncio.run(self._sender.send("bench", name, made, {name: file})))
        finally:
            ended.set()
            watching.join()
        return seconds, _children_seconds() - before, peak[0]


def _copy_plainly(place: OffsitePlace, file: Path) -> None:
    """Write a file to a bucket in parts and read them back, two at once, as they are."""
    store = S3Store(place)

    def copy(number: int) -> None:
        with file.open("rb") as stream:
            stream.seek(number * PART_BYTES)
            content = stream.read(PART_BYTES)
        store.put(f"plain/{number}", content, hashlib.sha256(content).digest())
        for _ in store.read(f"plain/{number}"):
            pass
        store.delete(f"plain/{number}")

    with closing(store), ThreadPoolExecutor(2) as workers:
        list(workers.map(copy, range(file.stat().st_size // PART_BYTES)))


@contextmanager
def _memory_store() -> Iterator[int]:
    """A store in a process of its own; its port."""
    service = OddService()
    process = multiprocessing.get_context("fork").Process(target=service.serve_forever, daemon=True)
    process.start()
    try:
        yield service.server_port
    finally:
        process.kill()
        process.join()
        service.server_close()


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _show(rates: list[float]) -> str:
    return f"{statistics.median(rates):.0f} MB/s ({min(rates):.0f}–{max(rates):.0f})"


def _watch(peak: list[int], ended: threading.Event) -> None:
    """Note the highest VmHWM of the children that are senders."""
    while not ended.wait(0.05):
        for child in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, StopIteration):
                if b"ikoma.apps.offsite.worker" in (child / "cmdline").read_bytes():
                    lines = (child / "status").read_text().splitlines()
                    told = next(line for line in lines if line.startswith("VmHWM:"))
                    peak[0] = max(peak[0], int(told.split()[1]) << 10)
