"""Where an app's requests go is changed while they come, and none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from ikoma.ports.proxy import Route, Side
from ikoma.proxy.caddy import CaddyProxy
from tests.contract.conftest import Do
from tests.contract.proxy.backend import Backend, Load, Rude
from tests.contract.proxy.conftest import APP, get, until
from tests.support import free_port

Serve = Callable[..., Route]
Start = Callable[..., Backend]


def test_before_the_first_switch_the_app_is_down(do: Do[Any], proxy: CaddyProxy, backend: Start) -> None:
    assert proxy.find_side(APP) is Side.DOWN
    route = Route(APP, free_port())
    blue = backend("blue").address
    proxy.set_upstreams(APP, Side.BLUE, [blue])
    assert proxy.list_upstreams(APP, Side.BLUE) == [blue]
    do(proxy.apply([route]))
    assert do(get(route.port))[0] == 503
    proxy.switch(APP, Side.BLUE)
    assert (proxy.find_side(APP), do(get(route.port))) == (Side.BLUE, (200, "blue"))
    proxy.forget(APP)
    assert proxy.find_side(APP) is Side.DOWN


def test_a_switch_under_load_loses_no_request(do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue)

    async def story() -> None:
        async with Load(route.port) as load:
            for number in range(20):
                await until(lambda number=number: has_answered(load, 8 * number))
                side = proxy.find_side(APP).other
                proxy.set_upstreams(APP, side, [(green if side is Side.GREEN else blue).address])
                proxy.switch(APP, side)
            await until(lambda: has_answered(load, 8 * 20))
        assert load.failures == []
        assert {body for _, body in load.answers} == {b"blue", b"green"}

    do(story())


async def has_answered(load: Load, number: int, *, since: float = 0.0) -> bool:
    """Whether more requests than that were answered, of those that began since a moment."""
    return sum(began >= since for began, _ in load.answers) > number


def test_after_a_switch_the_new_side_alone_answers(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue)

    async def story() -> None:
        async with Load(route.port) as load:
            await until(lambda: has_answered(load, 8))
            proxy.set_upstreams(APP, Side.GREEN, [green.address])
            proxy.switch(APP, Side.GREEN)
            switched = time.monotonic()
            await until(lambda: has_answered(load, 40, since=switched))
        assert load.failures == []
        assert {body for began, body in load.answers if began >= switched} == {b"green"}

    do(story())


def test_a_side_that_was_pointed_elsewhere_before_it_serves_is_not_reached(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue)
    proxy.set_upstreams(APP, Side.GREEN, [green.address])
    assert do(get(route.port)) == (200, "blue")
    proxy.switch(APP, Side.GREEN)
    proxy.switch(APP, Side.BLUE)  # back, without being told again where blue is
    assert do(get(route.port)) == (200, "blue")
    assert green.requests == []


def test_a_request_waits_for_a_container_that_is_away(
    do: Do[Any], serve: Serve, backend: Start, proxy: CaddyProxy
) -> None:
    blue = backend("blue")
    route = serve(blue, hold=60)

    async def story() -> None:
        await blue.stop()
        waiting = [
            asyncio.ensure_future(get(route.port)),
            asyncio.ensure_future(get(route.port, "/size", data=b"12345", method="POST")),
        ]
        await asyncio.sleep(0.5)
        assert not any(request.done() for request in waiting)
        await blue.start()
        assert await asyncio.gather(*waiting) == [(200, "blue"), (200, "5")]

    do(story())


def test_a_request_that_waits_for_the_old_side_is_answered_by_the_new_one(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue, hold=60)

    async def story() -> None:
        await blue.stop()
        waiting = asyncio.ensure_future(get(route.port))
        await asyncio.sleep(0.3)
        proxy.set_upstreams(APP, Side.GREEN, [green.address])
        proxy.switch(APP, Side.GREEN)
        assert await waiting == (200, "green")

    do(story())


def test_waiting_ends_with_a_page(do: Do[Any], serve: Serve, proxy: CaddyProxy) -> None:
    route = serve(hold=0.3)
    began = time.monotonic()
    status, text = do(get(route.port))
    assert (status, "does not answer" in text) == (502, True)
    assert 0.2 < time.monotonic() - began < 60


def test_what_only_reads_is_tried_again_when_its_container_dies(do: Do[Any], proxy: CaddyProxy, serve: Serve) -> None:
    rude = do(Rude(times=2).start())
    route = serve()
    proxy.set_upstreams(APP, Side.BLUE, [f"127.0.0.1:{rude.port}"])
    assert do(get(route.port)) == (200, "rude\r\n")
    assert rude.tries == 3
    do(rude.stop())


def test_what_changes_something_is_never_sent_twice(do: Do[Any], proxy: CaddyProxy, serve: Serve) -> None:
    rude = do(Rude(times=2).start())
    route = serve()
    proxy.set_upstreams(APP, Side.BLUE, [f"127.0.0.1:{rude.port}"])
    status, _ = do(get(route.port, method="POST", data=b"x"))
    assert (status, rude.tries) == (502, 1)
    do(rude.stop())


def test_an_app_that_is_too_slow_is_asked_once(do: Do[Any], serve: Serve, backend: Start) -> None:
    blue = backend("blue")
    route = serve(blue, timeout=0.5, hold=60)
    status, _ = do(get(route.port, "/slow?seconds=2"))
    assert (status, len(blue.requests)) == (504, 1)


def test_an_app_that_dies_is_asked_again_though_its_time_is_limited(
    do: Do[Any], proxy: CaddyProxy, serve: Serve
) -> None:
    rude = do(Rude(times=1).start())
    route = serve(timeout=20, hold=60)
    proxy.set_upstreams(APP, Side.BLUE, [f"127.0.0.1:{rude.port}"])
    assert do(get(route.port)) == (200, "rude\r\n")
    do(rude.stop())


def test_upstreams_share_the_requests_and_one_that_is_dead_costs_none(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    one, two = backend("one"), backend("two")
    route = serve(one, two, upstreams=3)

    async def ask() -> set[tuple[int, str]]:
        return {await get(route.port) for _ in range(12)}

    assert do(ask()) == {(200, "one"), (200, "two")}
    do(two.stop())
    assert do(ask()) == {(200, "one")}


def test_what_is_under_way_is_counted_on_the_side_that_it_began_on(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue, upstreams=2)

    async def both() -> tuple[int, int]:
        return await proxy.count_in_flight(APP, Side.BLUE), await proxy.count_in_flight(APP, Side.GREEN)

    async def story() -> None:
        assert await both() == (0, 0)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{route.port}/ws") as socket,
        ):
            slow = asyncio.ensure_future(get(route.port, "/held"))
            await until(lambda: counts(2, 0))
            proxy.set_upstreams(APP, Side.GREEN, [green.address])
            proxy.switch(APP, Side.GREEN)
            later = asyncio.ensure_future(get(route.port, "/held"))
            await until(lambda: counts(2, 1))
            blue.lets_go.set()
            green.lets_go.set()
            assert (await slow, await later) == ((200, "blue"), (200, "green"))
            await until(lambda: counts(1, 0))
            await socket.send_str("still there?")
            assert (await socket.receive_str(timeout=60)) == "blue: still there?"
        await until(lambda: counts(0, 0))
        assert await proxy.count_in_flight(APP, Side.DOWN) == 0

    async def counts(blue: int, green: int) -> bool:
        return await both() == (blue, green)

    do(story())


def test_a_request_whose_client_has_gone_is_not_under_way(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    route = serve(backend("blue"))

    async def counts(wanted: int) -> bool:
        return await proxy.count_in_flight(APP, Side.BLUE) == wanted

    async def story() -> None:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{route.port}/events") as answer:
            assert await answer.content.readline() == b"data: blue 0\n"
            assert await counts(1)
        await until(lambda: counts(0))

    do(story())


def test_websockets_and_events_outlive_a_switch_and_a_change_of_configuration(
    do: Do[Any], proxy: CaddyProxy, serve: Serve, backend: Start
) -> None:
    blue, green = backend("blue"), backend("green")
    route = serve(blue)

    async def story() -> None:
        address = f"http://127.0.0.1:{route.port}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}/ws") as socket,
            session.get(f"{address}/events") as events,
        ):
            proxy.set_upstreams(APP, Side.GREEN, [green.address])
            proxy.switch(APP, Side.GREEN)
            await proxy.apply([Route(APP, route.port, domains=("new.example.com",))])
            assert await get(route.port) == (200, "green")
            await asyncio.sleep(0.5)
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=60) == "blue: hello"
            lines = [await asyncio.wait_for(events.content.readline(), 60) for _ in range(60)]
            assert [line for line in lines if line.strip()] == [f"data: blue {n}\n".encode() for n in range(30)]
            assert await proxy.count_in_flight(APP, Side.BLUE) == 2  # a new configuration goes on counting

    do(story())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "{env.HOME}:80", "unix//run/x:1", "a b:80", "a:80\n"]
)
def test_only_addresses_are_addresses(proxy: CaddyProxy, address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        proxy.set_upstreams(APP, Side.GREEN, [address])
