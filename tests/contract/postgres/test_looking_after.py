"""The task that looks after the embedded PostgreSQL: whatever meets whatever, one server runs, or none at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ikoma.errors import DatabasesUnavailable, StartRefused
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server import embedded
from ikoma.postgres.server.embedded import EmbeddedPostgres
from tests.contract.conftest import SOON, remove, settings_of, state_folder
from tests.support import eventually

Do = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def folder() -> Iterator[Path]:
    new = state_folder()
    yield new
    remove(new)


def made(folder: Path, **more: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(settings_of(folder, **more))


def postmaster(folder: Path) -> int:
    """The process of a server.

    Raises:
        FileNotFoundError: it has been stopped.
        ProcessLookupError: it is being started; until it writes its own, the file of one that was killed has our pid.
    """
    found = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    if found == os.getpid():
        raise ProcessLookupError
    return found


def processes_of(folder: Path) -> list[psutil.Process]:
    """Postmasters and their children, whatever they call themselves."""
    data = str(folder / "postgres" / "data")
    return [
        process
        for process in psutil.process_iter(["cwd", "cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and (process.info["cwd"] == data or data in (process.info["cmdline"] or []))
    ]


def ask(server: EmbeddedPostgres, query: str) -> Any:
    with psycopg.connect(**server.make_admin_login(), autocommit=True) as session:
        row = session.execute(query.encode()).fetchone()
    return row and row[0]


async def answered(server: EmbeddedPostgres, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                await (await psycopg.AsyncConnection.connect(**server.make_admin_login())).close()
                return
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)


# --- where containers reach it -----------------------------------------------------------------------------


@pytest.fixture
def bridge() -> Iterator[tuple[str, Callable[[], None]]]:
    """An address that this machine does not have until the function is called, as Docker's bridge at a boot."""
    if os.geteuid() != 0:
        pytest.fail("adding an address needs root")
    address = f"10.213.{random.randrange(256)}.{random.randrange(1, 255)}"
    yield address, lambda: subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True) and None
    subprocess.run(["ip", "addr", "del", f"{address}/32", "dev", "lo"], check=False, capture_output=True)


def test_an_address_that_comes_later_is_listened_on_then(
    do: Do, folder: Path, bridge: tuple[str, Callable[[], None]]
) -> None:
    address, appear = bridge
    server = made(folder)
    do(server.set_app_address(address))
    do(server.start())
    try:
        first = postmaster(folder)
        do(server.set_app_address(address))
        assert (postmaster(folder), ask(server, "SHOW listen_addresses")) == (first, "127.0.0.1")
        appear()
        do(server.set_app_address(address))
        with socket.create_connection((address, server.endpoint.port), timeout=30):
            pass
        second = postmaster(folder)
        do(server.set_app_address(address))
        assert first != second == postmaster(folder)
    finally:
        do(server.stop())
    do(server.start())  # it remembers, without being told
    assert ask(server, "SHOW listen_addresses") == f"127.0.0.1,{address}"
    do(server.stop())


def test_an_address_that_is_told_while_it_comes_up_is_waited_for_too(do: Do, folder: Path) -> None:
    server = made(folder)

    async def told_twice() -> None:
        await server.start()
        first = asyncio.ensure_future(server.set_app_address("127.0.0.2"))
        while "127.0.0.2" not in (folder / "postgres" / "data" / "ikoma.conf").read_text():
            await asyncio.sleep(0)
        assert not first.done()
        await server.set_app_address("127.0.0.3")
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1,127.0.0.3"
        await first

    try:
        do(told_twice())
    finally:
        do(server.stop())


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "*", "localhost", "127.0.0.1' #", "", "8.8.8.8"])
def test_no_other_address_is_ever_listened_on(do: Do, postgres: Any, address: str) -> None:
    before = ask(postgres.server, "SELECT pg_postmaster_start_time()")
    do(postgres.server.set_app_address(address))
    assert ask(postgres.server, "SELECT pg_postmaster_start_time()") == before
    assert ask(postgres.server, "SHOW listen_addresses") == "127.0.0.1"


# --- whatever meets whatever -------------------------------------------------------------------------------


def test_kills_moves_and_a_stop_at_any_moment_leave_no_server(do: Do, folder: Path) -> None:
    async def storm(seed: int) -> None:
        chance = random.Random(seed)
        server = made(folder)
        await server.start()

        async def kill() -> None:
            for _ in range(2):
                await asyncio.sleep(chance.random() * 0.5)
                try:
                    os.kill(postmaster(folder), signal.SIGKILL)
                except (FileNotFoundError, ProcessLookupError, ValueError):
                    continue

        async def move() -> None:
            for number in range(2):
                await asyncio.sleep(chance.random() * 0.5)
                await server.set_app_address(f"127.0.0.{chance.randrange(2, 9) + number}")

        storming = [asyncio.ensure_future(kill()), asyncio.ensure_future(move())]
        await asyncio.sleep(chance.random())
        if chance.random() < 0.5:
            storming[1].cancel()
        await server.stop()
        for one in storming:
            one.cancel()
        await asyncio.wait(storming)
        # Children of a postmaster that was killed end by themselves, as soon as they get to run.
        deadline = time.monotonic() + 60
        while processes_of(folder):
            assert time.monotonic() < deadline, processes_of(folder)
            await asyncio.sleep(0.05)

    for seed in range(6):
        do(storm(seed))


def test_after_kills_and_moves_it_answers_where_it_should(do: Do, folder: Path) -> None:
    server = made(folder)

    async def shaken() -> None:
        await server.start()
        for number in range(2, 6):
            os.kill(postmaster(folder), signal.SIGKILL)
            await server.set_app_address(f"127.0.0.{number}")
        await answered(server)

    try:
        do(shaken())
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1,127.0.0.5"
        masters = [one for one in processes_of(folder) if str(folder / "postgres" / "data") in one.cmdline()]
        assert len(masters) == 1
    finally:
        do(server.stop())


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.5, 0.8])
def test_a_start_that_is_cancelled_leaves_no_server(do: Do, folder: Path, seconds: float) -> None:
    async def cancelled() -> None:
        server = made(folder)
        starting = asyncio.ensure_future(server.start())
        await asyncio.sleep(seconds)
        starting.cancel()
        await asyncio.wait([starting])
        await server.stop()
        await asyncio.to_thread(eventually, lambda: processes_of(folder) == [])
        await server.start()
        await answered(server)
        await server.stop()

    do(cancelled())


def test_a_stop_during_the_pause_before_a_restart_is_quick(
    do: Do, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "_FIRST_PAUSE", 600.0)

    async def stopped() -> float:
        server = made(folder)
        await server.start()
        os.kill(postmaster(folder), signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: "starting it again in 600.0 s" in caplog.text)
        began = time.monotonic()
        await server.stop()
        return time.monotonic() - began

    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        assert do(stopped()) < 90  # the pause would be ten minutes
    eventually(lambda: processes_of(folder) == [])


def test_a_start_that_fails_leaves_the_state_free_for_the_next(do: Do, folder: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = str(squatter.getsockname()[1])
        with pytest.raises(StartRefused, match=port):
            do(made(folder, POSTGRES_PORT=port).start())
    server = made(folder, POSTGRES_PORT=port)
    do(server.start())
    assert server.endpoint.port == int(port)
    do(server.stop())


def test_two_on_one_state_share_one_server_and_the_second_takes_over(do: Do, folder: Path) -> None:
    first, second = made(folder), made(folder)

    async def handed_over() -> None:
        await first.start()
        await second.start()
        assert second.endpoint == first.endpoint
        pid = postmaster(folder)
        await second.stop()
        assert postmaster(folder) == pid
        await answered(first)
        await second.start()
        await first.stop()
        await answered(second)
        os.kill(postmaster(folder), signal.SIGKILL)
        await answered(second)
        await second.stop()

    do(handed_over())
    eventually(lambda: processes_of(folder) == [])


# --- a server that hangs, and what is said of secrets ------------------------------------------------------


def test_a_server_that_hangs_is_away_soon(do: Do, folder: Path) -> None:
    server = made(folder)
    databases = PostgresDatabases(server)
    owned = Credentials("hangs", "hangs", Secret("x"))

    async def hang() -> list[float]:
        await server.start()
        await databases.create(AppName("hangs"), owned.password)
        await databases.check_login(owned, fresh=False)
        frozen = processes_of(folder)
        for process in frozen:
            process.suspend()
        took = []
        try:
            for fresh in (False, True):
                began = time.monotonic()
                with pytest.raises(DatabasesUnavailable):
                    await databases.check_login(owned, fresh=fresh)
                took.append(time.monotonic() - began)
        finally:
            for process in frozen:
                process.resume()
        await databases.check_login(owned, fresh=False)
        await databases.close()
        await server.stop()
        return took

    assert max(do(hang())) < SOON


def test_no_secret_of_a_statement_is_logged_or_in_a_title(postgres: Any, owned: Credentials) -> None:
    secret = f"hunter2-{secrets.token_hex(8)}"
    server = postgres.server
    with psycopg.connect(**server.make_app_login(owned), autocommit=True) as session:
        session.execute("CREATE TABLE t (name text UNIQUE)")
        for statement in (
            f"SELECT '{secret}'::int",
            f"SELEC '{secret}'",
            f"INSERT INTO t VALUES ('{secret}'), ('{secret}')",
            f"ALTER ROLE CURRENT_USER PASSWORD '{secret}' SUPERUSER",
            f"DO $$ BEGIN RAISE WARNING '{secret}'; END $$",
            f"DO $$ BEGIN PERFORM 1 / 0, '{secret}'; END $$",
        ):
            try:
                session.execute(statement.encode())
            except psycopg.Error:
                continue
        with contextlib.closing(psycopg.connect(**server.make_app_login(owned), autocommit=True)) as other:
            other.pgconn.send_query(f"SELECT pg_sleep(0.5), '{secret}'".encode())
            time.sleep(0.2)
            processes = psutil.process_iter(["cmdline"])
            titles = " ".join(" ".join(process.info["cmdline"] or []) for process in processes)
            other.cancel()
    data = Path(str(ask(server, "SHOW data_directory")))
    logged = "".join(path.read_text(errors="replace") for path in (data / "log").glob("*"))
    for text in (secret, owned.password.reveal(), str(server.make_admin_login()["password"])):
        assert text not in logged
        assert text not in titles
