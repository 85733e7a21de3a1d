"""The proxy outlives who started it, and comes back when it dies itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from ikoma.errors import ProxyUnavailable
from ikoma.ports.proxy import Route, Side
from ikoma.processes import is_alive
from ikoma.proxy.caddy import CaddyProxy
from tests.contract.conftest import Do
from tests.contract.proxy.backend import Backend, Load
from tests.contract.proxy.conftest import APP, Place, get, until
from tests.support import free_port

Start = Callable[..., Backend]
Places = Callable[..., Place]

STARTER = """
import asyncio, json, sys
from ikoma.model import AppName
from ikoma.ports.proxy import Route, Side
from ikoma.processes import is_alive
from ikoma.proxy.caddy import CaddyProxy
from ikoma.settings import load_settings
async def main():
    proxy = CaddyProxy(load_settings(json.loads(sys.argv[1])))
    await proxy.start()
    await proxy.apply([Route(AppName("app"), int(sys.argv[2]))])
    proxy.set_upstreams(AppName("app"), Side.BLUE, [sys.argv[3]])
    proxy.switch(AppName("app"), Side.BLUE)
    print("ready", flush=True)
    await asyncio.sleep(float(sys.argv[4]))
    await proxy.close()
asyncio.run(main())
"""


def started_elsewhere(place: Place, port: int, backend: Backend, *, lives: float = 600) -> subprocess.Popen[bytes]:
    """Another process that has started the proxy of a place and serves the app."""
    environ = {"IKOMA_HOME": str(place.folder / "home"), "IKOMA_STATE": str(place.folder), **place.settings}
    argv = [sys.executable, "-c", STARTER, json.dumps(environ), str(port), backend.address, str(lives)]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def running(do: Do[Any], place: Place, *routes: Route) -> CaddyProxy:
    proxy = place.proxy()
    do(proxy.start())
    do(proxy.apply(routes))
    return proxy


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_it_outlives_its_starter_and_is_taken_over(
    end: signal.Signals | None, do: Do[Any], places: Places, backend: Start
) -> None:
    place, port, blue = places(), free_port(), backend("blue")

    async def story() -> None:
        lives = 600 if end else 1
        process = await asyncio.to_thread(started_elsewhere, place, port, blue, lives=lives)
        pid = place.pid
        async with Load(port) as load:
            await asyncio.sleep(0.2)
            if end is not None:
                process.send_signal(end)
            await asyncio.to_thread(process.wait)
            await asyncio.sleep(0.2)
            proxy = place.proxy()
            await proxy.start()
            assert proxy.listeners == {"http": True, "https": True}
            await proxy.apply([Route(APP, port)])
            before = len(load.answers)
            await until(lambda: goes_on(load, before))
        assert load.failures == []
        assert place.pid == pid
        assert is_alive(pid)

    async def goes_on(load: Load, before: int) -> bool:
        return len(load.answers) > before + 50

    do(story())


def test_a_proxy_that_was_killed_comes_back_with_the_same_routes(do: Do[Any], places: Places, backend: Start) -> None:
    place, blue = places(), backend("blue")
    route = Route(APP, free_port(), domains=("shop.example.com",))
    proxy = running(do, place, route)
    proxy.set_upstreams(APP, Side.BLUE, [blue.address])
    proxy.switch(APP, Side.BLUE)

    async def story() -> None:
        watching = asyncio.ensure_future(proxy.watch())
        for _ in range(2):
            killed = place.pid
            os.kill(killed, signal.SIGKILL)
            await until(partial(is_served, killed))
        await proxy.apply([route])
        await proxy.stop()
        await asyncio.wait_for(watching, 60)
        assert not await is_served(0)

    async def is_served(former: int) -> bool:
        try:
            return place.pid != former and await get(route.port) == (200, "blue")
        except OSError:
            return False

    do(story())


def test_a_proxy_that_hangs_is_replaced_by_the_next_start(do: Do[Any], places: Places) -> None:
    place = places()
    running(do, place)
    hanging = place.pid
    (place.folder / "proxy" / "run" / "admin.sock").unlink()
    do(place.proxy().start())
    assert place.pid != hanging
    assert not is_alive(hanging)


def test_another_process_with_the_same_pid_is_not_touched(do: Do[Any], places: Places) -> None:
    place = places()
    proxy = running(do, place)
    do(proxy.stop())
    bystander = subprocess.Popen(["sleep", "600"])
    (place.folder / "proxy" / "pid").write_text(f"{bystander.pid}@1")
    do(proxy.stop())
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_without_a_proxy_the_answer_says_so(do: Do[Any], places: Places) -> None:
    proxy = running(do, places())
    do(proxy.stop())
    with pytest.raises(ProxyUnavailable):
        do(proxy.apply([]))
    with pytest.raises(ProxyUnavailable):
        do(proxy.count_in_flight(APP, Side.BLUE))


def test_it_starts_again_after_a_stop_with_what_it_served(do: Do[Any], places: Places, backend: Start) -> None:
    place, blue, port = places(), backend("blue"), free_port()
    proxy = running(do, place, Route(APP, port))
    proxy.set_upstreams(APP, Side.BLUE, [blue.address])
    proxy.switch(APP, Side.BLUE)
    do(proxy.stop())
    do(place.proxy().start())  # nothing is applied: a machine that was started again serves at once
    assert do(get(port)) == (200, "blue")


def test_two_on_one_machine_do_not_meet(do: Do[Any], places: Places, backend: Start) -> None:
    one, two = places(), places()
    routes = [Route(APP, free_port()), Route(APP, free_port())]
    proxies = [running(do, place, route) for place, route in zip((one, two), routes, strict=True)]
    for proxy, name in zip(proxies, ("one", "two"), strict=True):
        proxy.set_upstreams(APP, Side.BLUE, [backend(name).address])
        proxy.switch(APP, Side.BLUE)
    assert [do(get(route.port))[1] for route in routes] == ["one", "two"]
    do(proxies[0].stop())
    assert do(get(routes[1].port)) == (200, "two")


def test_two_holds_on_one_folder_start_one_proxy(do: Do[Any], places: Places) -> None:
    place = places()

    async def story() -> None:
        await asyncio.gather(*(place.proxy().start() for _ in range(3)))

    do(story())
    found = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(place.folder) in " ".join(process.info["cmdline"] or [])
    ]
    assert found == [place.pid]


def test_a_port_that_is_taken_leaves_the_rest_working(
    do: Do[Any], places: Places, backend: Start, caplog: pytest.LogCaptureFixture
) -> None:
    place, route = places(), Route(APP, free_port(), domains=("shop.example.com",))
    with socket.create_server(("127.0.0.1", place.https)):
        proxy = running(do, place, route)
        proxy.set_upstreams(APP, Side.BLUE, [backend("blue").address])
        proxy.switch(APP, Side.BLUE)
        assert proxy.listeners == {"http": True, "https": False}
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
            f"PROXY_HTTPS_PORT: the proxy does not listen on port {place.https}, because another program listens there."
        ]
        assert do(get(route.port)) == (200, "blue")
        assert "blue" in place.curl(f"http://shop.example.com:{place.http}/")  # there is nowhere to lead to
    do(proxy.apply([route]))
    assert proxy.listeners == {"http": True, "https": True}
    assert proxy.obstacles == {}
    assert "308" in place.curl(f"http://shop.example.com:{place.http}/")


def test_a_port_that_only_datagrams_cannot_have_is_served_without_http3(do: Do[Any], places: Places) -> None:
    place = places()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", place.https))
        proxy = running(do, place)
        assert proxy.listeners["https"] is True
        assert list(proxy.obstacles) == ["PROXY_HTTPS_PORT for HTTP/3"]
    do(proxy.apply([]))
    assert proxy.obstacles == {}


def test_the_port_of_one_app_that_is_taken_leaves_the_others_working(
    do: Do[Any], places: Places, backend: Start
) -> None:
    place = places()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        route = Route(APP, taken.getsockname()[1])
        proxy = running(do, place, route)
        proxy.set_upstreams(APP, Side.BLUE, [backend("blue").address])
        proxy.switch(APP, Side.BLUE)
        assert "blue" in place.curl(f"http://app.localhost:{place.http}/")
        assert list(proxy.obstacles) == ["The port of app"]


def test_another_proxy_has_a_port_alone(do: Do[Any], places: Places) -> None:
    one = places()
    two = places(PROXY_HTTP_PORT=str(one.http))
    running(do, one)
    assert running(do, two).listeners["http"] is False  # Caddy itself would have shared it


def test_no_public_listener_is_no_obstacle(do: Do[Any], places: Places) -> None:
    place = places(PROXY_HTTP_PORT="0", PROXY_HTTPS_PORT="0")
    route = Route(APP, free_port(), domains=("shop.example.com",))
    proxy = running(do, place, route)
    assert (proxy.listeners, proxy.obstacles) == ({}, {})
    assert proxy.list_urls(route) == (f"http://127.0.0.1:{route.port}",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_runs_with_as_few_rights_as_it_needs(do: Do[Any], places: Places) -> None:
    place = places()
    running(do, place)
    process = psutil.Process(place.pid)
    status = Path(f"/proc/{place.pid}/status").read_text()
    assert process.username() == "ikoma-proxy"
    assert process.gids().real == process.gids().effective != 0
    assert "Groups:\t \n" in status
    assert "NoNewPrivs:\t1" in status
    assert {line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")} <= {
        "0" * 16,
        f"{1 << 10:016x}",
    }
    proxy = place.folder / "proxy"
    assert oct((proxy / "run").stat().st_mode & 0o777) == oct((proxy / "data").stat().st_mode & 0o777) == "0o700"
