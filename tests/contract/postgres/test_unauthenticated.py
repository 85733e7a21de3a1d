"""Connections that never log in, from a container or anywhere, leave room for those that do."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, PGconn, PollingStatus

from ikoma.apps.previews.previews import MOST
from ikoma.errors import DatabasesUnavailable
from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from ikoma.postgres.server.cluster import CONNECTIONS
from ikoma.postgres.server.unauthenticated_connections import end_too_many, turn_away
from tests.contract.postgres.conftest import Postgres, make_database
from tests.support import eventually

STARTUP = struct.pack("!I", 196608) + b"user\0bank\0database\0bank\0\0"
STARTUP = struct.pack("!I", len(STARTUP) + 4) + STARTUP


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def patient(postgres: Postgres) -> Iterator[None]:
    """The server itself waits for a login much longer than the test does."""
    usual = login_seconds(postgres)
    reload(postgres, "ALTER SYSTEM SET authentication_timeout = '600s'", 600)
    yield
    reload(postgres, "ALTER SYSTEM RESET authentication_timeout", usual)


def reload(postgres: Postgres, change: str, seconds: int) -> None:
    """Change how long it waits for a login. It reads that again a moment after it is told to."""
    with postgres.admin() as admin:
        admin.execute(change.encode())
        admin.execute("SELECT pg_reload_conf()")
    eventually(lambda: login_seconds(postgres) == seconds)


def login_seconds(postgres: Postgres) -> int:
    """Ask a new session: it has what the server knew when it came."""
    with postgres.admin() as admin:
        asked = "SELECT setting::int FROM pg_settings WHERE name = 'authentication_timeout'"
        (seconds,) = admin.execute(asked).fetchone() or ()
    return int(seconds)


def connect(postgres: Postgres, sockets: ExitStack, *, says: bytes, source: str = "127.0.0.2") -> socket.socket:
    port = postgres.server.endpoint.port
    made = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    sockets.enter_context(made)
    made.sendall(says)
    return made


async def is_let_in(postgres: Postgres) -> bool:
    try:
        await postgres.databases.read_version()
    except DatabasesUnavailable:
        return False
    return True


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except ConnectionResetError:
        pass
    return False


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("says", [STARTUP, b""], ids=["its name", "nothing"])
def test_strangers_that_fill_every_place_are_turned_away(
    postgres: Postgres, sockets: ExitStack, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    count = (1 if says else 2) * CONNECTIONS + 50

    async def flooded() -> None:
        for _ in range(count):
            connect(postgres, sockets, says=says)
        async with asyncio.timeout(90):
            while await is_let_in(postgres):
                await asyncio.sleep(0.1)
        turning = asyncio.ensure_future(turn_away(postgres.server, pause=0.5))
        try:
            async with asyncio.timeout(90):
                while not await is_let_in(postgres):
                    await asyncio.sleep(0.1)
        finally:
            turning.cancel()
            await asyncio.wait([turning])

    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        postgres.do(flooded())
        deadline = time.monotonic() + 90  # it says so after it did it, in a thread that a cancellation does not end
        while "127.0.0.2" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.usefixtures("patient")  # it is slower than a login may be, where much else is at work
def test_only_those_of_the_address_with_the_most_are_ended(
    postgres: Postgres, owned: Credentials, sockets: ExitStack
) -> None:
    few = [connect(postgres, sockets, says=STARTUP, source="127.0.0.3") for _ in range(5)]
    many = [connect(postgres, sockets, says=STARTUP) for _ in range(10)]

    for stranger in (*few, *many):
        assert stranger.recv(1) == b"R"  # it is asked for its password
    with postgres.login(owned) as session:
        assert end_too_many(postgres.server.pid, 12) == 10
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert all(map(is_open, few))
    for stranger in many:
        while stranger.recv(4096):  # to the end
            pass


def test_a_slow_client_still_logs_in(postgres: Postgres, owned: Credentials) -> None:
    """The client takes half a second for each step of the protocol."""
    conninfo = make_conninfo(**postgres.server.make_app_login(owned), sslmode="disable")
    client = PGconn.connect_start(conninfo.encode())
    while client.connect_poll() not in (PollingStatus.OK, PollingStatus.FAILED):
        time.sleep(0.5)
    assert client.status == ConnStatus.OK
    client.finish()


def test_a_stranger_has_a_place_for_seconds_only(postgres: Postgres, sockets: ExitStack) -> None:
    stranger = connect(postgres, sockets, says=STARTUP)
    began = time.monotonic()
    while stranger.recv(4096):
        pass
    assert time.monotonic() - began < 90


def test_the_admin_gets_in_when_apps_hold_all_that_they_can(postgres: Postgres, owned: Credentials) -> None:
    with ExitStack() as sessions, postgres.admin() as admin:
        admin.execute(f'ALTER ROLE "{owned.role}" CONNECTION LIMIT -1'.encode())
        with pytest.raises(psycopg.OperationalError):
            for _ in range(CONNECTIONS):
                sessions.enter_context(postgres.login(owned))
        for _ in range(10):
            sessions.enter_context(postgres.admin())


def test_an_app_and_its_previews_leave_places_for_others(postgres: Postgres) -> None:
    names = (AppName.parse("many"), AppName.parse("many--preview"))
    try:
        for name in names:
            make_database(postgres, name)
        with postgres.admin() as admin:
            found = admin.execute(
                "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)", (list(map(str, names)),)
            ).fetchall()
    finally:
        for name in names:
            postgres.do(postgres.databases.drop(name))
    limits = dict(found)
    assert limits["many"] + MOST * limits["many--preview"] <= CONNECTIONS * 3 // 4
