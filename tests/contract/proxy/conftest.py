"""One real Caddy for the tests of what it serves, and more for the tests in which it dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ikoma.model import AppName
from ikoma.ports.proxy import Route, Side
from ikoma.proxy.caddy import CaddyProxy
from tests.contract.conftest import Do, settings_of, state_folder
from tests.contract.proxy.backend import Backend
from tests.support import free_port

APP = AppName("app")


class Place:
    """A folder for one proxy, with ports that are its own."""

    def __init__(self, do: Do[Any], **settings: str) -> None:
        self.do = do
        self.folder = state_folder()
        self.http, self.https = free_port(), free_port()
        self.settings = {
            "AUDIT_LOG": str(self.folder / "audit" / "audit.jsonl"),
            "PROXY_HOST": "127.0.0.1",
            "PROXY_HTTP_PORT": str(self.http),
            "PROXY_HTTPS_PORT": str(self.https),
            "PROXY_TLS": "internal",
            **settings,
        }

    def proxy(self) -> CaddyProxy:
        """A new hold on what runs in the folder, as a restarted server would have."""
        return CaddyProxy(settings_of(self.folder, **self.settings))

    @property
    def pid(self) -> int:
        return int((self.folder / "proxy" / "pid").read_text().partition("@")[0])

    @property
    def authority(self) -> Path:
        return self.folder / "proxy" / "data" / "pki" / "authorities" / "local" / "root.crt"

    @property
    def access_log(self) -> Path:
        return self.folder / "audit" / "access" / f"{APP}.log"

    def curl(self, url: str, *options: str) -> str:
        """Return curl's output for an address of this proxy: head and body."""
        ports = [f"{name}:{port}" for name in url.split("/")[2].split(":")[:1] for port in (self.http, self.https)]
        resolved = [word for port in ports for word in ("--resolve", f"{port}:127.0.0.1")]
        argv = ["curl", "-sS", "-i", "-m", "10", "--cacert", str(self.authority), *resolved, *options, url]
        # In a thread, because the apps live in this one.
        done = self.do(asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False))
        return done.stdout or done.stderr

    def remove(self) -> None:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            cmdline = Path(f"/proc/{self.pid}/cmdline").read_text()
            if str(self.folder) in cmdline:
                os.kill(self.pid, 9)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="package")
def shared(do: Do[Any]) -> Iterator[tuple[Place, CaddyProxy]]:
    place = Place(do)
    proxy = place.proxy()
    do(proxy.start())
    yield place, proxy
    do(proxy.stop())
    place.remove()


@pytest.fixture
def place(shared: tuple[Place, CaddyProxy]) -> Place:
    return shared[0]


@pytest.fixture
def proxy(shared: tuple[Place, CaddyProxy]) -> CaddyProxy:
    return shared[1]


@pytest.fixture
def places(do: Do[Any]) -> Iterator[Callable[..., Place]]:
    """Makes folders for proxies of the test's own; whatever runs in them is ended."""
    made: list[Place] = []

    def make(**settings: str) -> Place:
        made.append(Place(do, **settings))
        return made[-1]

    yield make
    for place in made:
        do(place.proxy().stop())
        place.remove()


@pytest.fixture
def backend(do: Do[Any]) -> Iterator[Callable[..., Backend]]:
    """Starts apps; all of them are stopped."""
    started: list[Backend] = []

    def start(name: str, port: int = 0) -> Backend:
        started.append(do(Backend(name, port).start()))
        return started[-1]

    yield start
    for one in started:
        do(one.stop())


@pytest.fixture
def serve(do: Do[Any], proxy: CaddyProxy) -> Iterator[Callable[..., Route]]:
    """Applies one route of the app and points its blue side at backends."""

    def apply(*blue: Backend, **fields: Any) -> Route:
        route = Route(APP, free_port(), **fields)
        do(proxy.apply([route]))
        proxy.set_upstreams(APP, Side.BLUE, [one.address for one in blue])
        proxy.switch(APP, Side.BLUE)
        return route

    yield apply
    do(proxy.apply([]))
    proxy.forget(APP)


async def get(port: int, path: str = "/", **more: Any) -> tuple[int, str]:
    """Status and text of one request to a port of loopback."""
    method = more.pop("method", "GET")
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", **more) as answer,
    ):
        return answer.status, await answer.text()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
    """Wait for a condition to come true."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
