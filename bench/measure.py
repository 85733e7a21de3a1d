"""How things are measured: medians of several runs, ours and the other one in turn."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["X-Api-Key"] = os.getenv("BENCH_KEY")
"""


@dataclass(frozen=True)
class Row:
    """One line of the table. `met` says whether the figure reaches its target."""

    what: str
    ours: str
    other: str
    ratio: str
    target: str
    met: bool


@dataclass(frozen=True)
class Rate:
    per_second: float
    p99_ms: float
    failures: int


def load(url: str, capability: str, arguments: dict[str, object], key: str, *, seconds: int, clients: int = 16) -> Rate:
    """Calls per second with so many clients that each wait for their answer, by wrk."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        script.flush()
        output = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{clients}",
                f"-d{seconds}s",
                "--latency",
                "-s",
                script.name,
                f"{url}/execute/{capability}",
            ],
            env={"PATH": os.environ["PATH"], "BENCH_BODY": json.dumps(arguments), "BENCH_KEY": key},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    assert slow and rate, output
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    return Rate(float(rate[1]), float(slow[1]) * factor, int(failed[1]) if failed else 0)


def spawn_rate(argv: list[str], env: dict[str, str], *, seconds: float, clients: int = 16) -> float:
    """Runs of a command per second, with so many at once."""
    deadline = time.monotonic() + seconds
    counts = [0] * clients

    def work(index: int) -> None:
        while time.monotonic() < deadline:
            subprocess.run(
                argv, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    runs: int,
    before: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Median seconds of both, run one after the other so that a noisy machine disturbs both alike.

    Args:
        before: makes things ready for each single run; not measured.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for work, kept in zip((ours, other), times, strict=True):
            before()
            kept.append(seconds_of(work))
    return statistics.median(times[0]), statistics.median(times[1])


def memory_mib(pid: int, field: str) -> float:
    """VmRSS or VmHWM of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def reset_peak(pid: int) -> None:
    """Forget the highest memory so far, so that VmHWM speaks of what comes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
