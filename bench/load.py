"""Load: clients that call a capability as fast as it answers, and clients that spawn a program instead."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support import Server

_SCRIPT = """
wrk.method = {method}
wrk.body = {body}
for name, value in pairs({headers}) do wrk.headers[name] = value end
done = function(summary, latency, requests)
    io.write(string.format("RESULT %d %d %f %d\\n", summary.requests, summary.duration, latency:percentile(99),
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Answers that a number of clients got per second, and the time in which 99 of 100 were given (ms)."""

    rate: float
    p99: float


def generator() -> str:
    return "wrk" if shutil.which("wrk") else "a load generator in Python"


def call(server: Server, capability: str, arguments: Mapping[str, Any], *, clients: int, seconds: float) -> Load:
    """Clients that call one capability over kept connections. Every answer must be a success."""
    url = f"{server.url}/execute/{capability}"
    return post(url, json.dumps(arguments), {"X-Api-Key": server.key}, clients=clients, seconds=seconds)


def post(url: str, body: str, headers: Mapping[str, str], *, clients: int, seconds: float) -> Load:
    """Clients that send one request over kept connections, again and again. Every answer must be a success."""
    if shutil.which("wrk"):
        return _wrk(url, body, headers, clients, seconds)
    return asyncio.run(_python(url, body, headers, clients, seconds))


def fetch(url: str, *, clients: int, seconds: float) -> Load:
    """Clients that get one address over kept connections, again and again. Every answer must be a success."""
    if shutil.which("wrk"):
        return _wrk(url, "", {}, clients, seconds, method="GET")
    return asyncio.run(_python(url, "", {}, clients, seconds, method="GET"))


def spawn(argv: Sequence[str], *, environment: Mapping[str, str], clients: int, seconds: float) -> Load:
    """Clients that start a program, wait for its end and start it again."""
    taken: list[float] = []
    began = time.perf_counter()

    def client() -> None:
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
            taken.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _load(taken, time.perf_counter() - began)


def _wrk(
    url: str, body: str, headers: Mapping[str, str], clients: int, seconds: float, *, method: str = "POST"
) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        table = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
        script.write(_SCRIPT.format(method=json.dumps(method), body=json.dumps(body), headers=f"{{{table}}}"))
        script.flush()
        argv = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "-s", script.name, url]
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    words = next(line for line in output.splitlines() if line.startswith("RESULT")).split()
    requests, microseconds, p99, errors = int(words[1]), int(words[2]), float(words[3]), int(words[4])
    assert errors == 0, output
    return Load(requests / (microseconds / 1e6), p99 / 1000)


async def _python(
    url: str, body: str, headers: Mapping[str, str], clients: int, seconds: float, *, method: str = "POST"
) -> Load:
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"{method} {parts.path} HTTP/1.1\r\n{head}\r\n{body}".encode()
    taken: list[float] = []
    began = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            taken.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return _load(taken, time.perf_counter() - began)


def _load(taken: Sequence[float], elapsed: float) -> Load:
    p99 = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
    return Load(len(taken) / elapsed, p99 * 1000)
