"""The embedded PostgreSQL really dies in these tests, and so does the process that looks after it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ikoma.errors import DatabasesUnavailable, StartRefused
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from tests.contract.conftest import SOON, Do, remove, settings_of, state_folder
from tests.support import eventually

KEEPER = """
import asyncio, sys
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.settings import load_settings
async def keep():
    server = EmbeddedPostgres(
        load_settings({"IKOMA_HOME": sys.argv[1] + "/home", "IKOMA_STATE": sys.argv[1], "POSTGRES_PORT": sys.argv[2]}))
    await server.start()
    print("ready", flush=True)
    await asyncio.sleep(600)
asyncio.run(keep())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    new = state_folder()
    yield new
    remove(new)


def made(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(settings_of(folder))


def by_default(folder: Path) -> EmbeddedPostgres:
    """Without a port of the test's choice."""
    return EmbeddedPostgres(settings_of(folder, POSTGRES_PORT=""))


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def processes_of(folder: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if str(folder) in " ".join(process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def ask(server: EmbeddedPostgres, sql: str) -> Any:
    with psycopg.connect(**server.make_admin_login(), autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row and row[0]


async def answers(server: EmbeddedPostgres, seconds: float = 90) -> float:
    """How long it took until the server answered."""
    began = time.monotonic()
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(**server.make_admin_login())
            await connection.close()
            return time.monotonic() - began
        except psycopg.OperationalError:
            assert time.monotonic() - began < seconds, "PostgreSQL did not come back"
            await asyncio.sleep(0.02)


def keeper(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that has started a server on this folder."""
    port = str(settings_of(folder).postgres_port)
    process = subprocess.Popen([sys.executable, "-c", KEEPER, str(folder), port], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_the_second_start_keeps_port_and_rows(do: Do[Any], folder: Path) -> None:
    first = by_default(folder)
    do(first.start())
    port = first.endpoint.port
    with psycopg.connect(**first.make_admin_login(), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 7 AS n")
    do(first.stop())
    eventually(lambda: processes_of(folder) == [])
    second = by_default(folder)
    do(second.start())
    try:
        assert second.endpoint.port == port
        assert second.endpoint.on_this_machine
        assert ask(second, "SELECT n FROM public.kept") == 7
    finally:
        do(second.stop())


def test_it_runs_as_a_user_of_its_own_and_keeps_its_password_to_root(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())
    try:
        assert psutil.Process(postmaster(folder)).username() == "ikoma-postgres"
        password = server.make_admin_login()["password"]
        holding = [
            path
            for path in (folder / "postgres").rglob("*")
            if path.is_file() and path.stat().st_size < 4096 and password.encode() in path.read_bytes()
        ]
        assert [stat.S_IMODE(path.stat().st_mode) for path in holding] == [0o600]
        assert password not in " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in processes_of(folder))
        assert ask(server, "SHOW data_checksums") == "on"
        assert ask(server, "SHOW server_encoding") == "UTF8"
    finally:
        do(server.stop())


def test_a_killed_initialisation_is_done_again(do: Do[Any], folder: Path) -> None:
    half = folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = made(folder)
    do(server.start())
    try:
        assert ask(server, "SELECT 1") == 1
        assert not half.exists()
        assert list((folder / "postgres").glob("password.*")) == []
    finally:
        do(server.stop())


def test_a_killed_postmaster_comes_back_each_time(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())
    try:
        for _ in range(3):
            os.kill(postmaster(folder), signal.SIGKILL)
            do(asyncio.sleep(0.1))
            do(answers(server))
    finally:
        do(server.stop())
    eventually(lambda: processes_of(folder) == [])


def test_killed_again_and_again_while_it_comes_up_it_still_comes_back(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())

    async def hunt(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for pid in processes_of(folder):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            await asyncio.sleep(0.013)

    try:
        do(hunt(3))
        do(answers(server))
    finally:
        do(server.stop())
    eventually(lambda: processes_of(folder) == [])


def test_a_backend_that_is_killed_takes_nothing_else_down(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())
    try:
        before = postmaster(folder)
        with psycopg.connect(**server.make_admin_login()) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
        do(answers(server))
        assert postmaster(folder) == before
    finally:
        do(server.stop())


def test_after_a_crash_of_ours_the_running_one_is_taken_over(do: Do[Any], folder: Path) -> None:
    process = keeper(folder)
    before = postmaster(folder)
    kill(process)
    assert psutil.pid_exists(before)
    server = made(folder)
    do(server.start())
    try:
        assert postmaster(folder) == before
        os.kill(before, signal.SIGKILL)  # also one that is not our child is watched
        do(asyncio.sleep(0.1))
        do(answers(server))
    finally:
        do(server.stop())
    eventually(lambda: processes_of(folder) == [])


def test_after_both_were_killed_with_a_session_at_work_a_start_succeeds(do: Do[Any], folder: Path) -> None:
    process = keeper(folder)
    server = made(folder)
    password = (folder / "postgres" / "password").read_text()
    port = int((folder / "postgres" / "port").read_text())
    busy = (
        f"import psycopg; c = psycopg.connect(host='127.0.0.1', port={port}, user='ikoma', password={password!r},"
        " dbname='postgres'); print('on', flush=True);"
        " c.execute('SELECT count(*) FROM generate_series(1, 3000000000) n')"
    )
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as session:
        assert session.stdout is not None and session.stdout.readline() == b"on\n"
        time.sleep(0.3)
        before = postmaster(folder)
        kill(process)
        os.kill(before, signal.SIGKILL)
        try:
            do(server.start())
            assert ask(server, "SELECT 1") == 1
        finally:
            session.kill()
            do(server.stop())


def test_a_stale_pid_that_is_another_process_of_its_user_now_is_no_obstacle(do: Do[Any], folder: Path) -> None:
    process = keeper(folder)
    before = postmaster(folder)
    kill(process)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: before not in processes_of(folder))
    argv = ["setpriv", "--reuid=ikoma-postgres", "--clear-groups", "--", "sleep", "60"]
    with subprocess.Popen(argv) as stranger:
        eventually(lambda: psutil.Process(stranger.pid).username() == "ikoma-postgres")
        pid_file = folder / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().split("\n")
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        server = made(folder)
        try:
            do(server.start())
            assert ask(server, "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            do(server.stop())
            stranger.kill()


def test_it_listens_on_loopback_and_where_containers_are_and_restarts_only_for_that(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())
    try:
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        do(server.set_app_address("127.0.0.2"))
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1,127.0.0.2"
        before = postmaster(folder)
        do(server.set_app_address("127.0.0.2"))
        do(server.set_app_address(None))
        assert postmaster(folder) == before
    finally:
        do(server.stop())


def test_the_port_that_apps_know_is_never_silently_changed(do: Do[Any], folder: Path) -> None:
    first = by_default(folder)
    do(first.start())
    port = first.endpoint.port
    do(first.stop())
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        second = by_default(folder)
        with pytest.raises(StartRefused, match=str(port)):
            do(second.start())
        do(second.stop())


def test_a_closed_folder_above_is_named(do: Do[Any], folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "state"
    state.mkdir(mode=0o711)
    server = made(state)
    with pytest.raises(StartRefused, match=str(closed)):
        do(server.start())
    do(server.stop())


def test_a_stopped_server_is_away_soon(do: Do[Any], folder: Path) -> None:
    server = made(folder)
    do(server.start())
    databases = PostgresDatabases(server)
    do(server.stop())
    began = time.monotonic()
    with pytest.raises(DatabasesUnavailable):
        do(databases.read_version())
    assert time.monotonic() - began < SOON


def test_a_statement_ends_soon_after_its_client_was_killed(do: Do[Any], server: EmbeddedPostgres) -> None:
    admin = server.make_admin_login()
    program = (
        "import psycopg, sys; c = psycopg.connect(sys.stdin.readline()); print('on', flush=True);"
        " c.execute('SELECT pg_sleep(600)')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin and client.stdout
        client.stdin.write(psycopg.conninfo.make_conninfo(**admin).encode() + b"\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"on\n"
        working = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
        eventually(lambda: ask(server, working))
        client.kill()
    eventually(lambda: not ask(server, working))


def test_first_starts_at_once_take_ports_of_their_own(do: Do) -> None:
    folders = [state_folder() for _ in range(3)]
    servers = [by_default(folder) for folder in folders]

    async def together() -> None:
        await asyncio.gather(*(server.start() for server in servers))

    try:
        do(together())
        assert len({server.endpoint.port for server in servers}) == 3
        for server, folder in zip(servers, folders, strict=True):
            assert ask(server, "SHOW data_directory") == str(folder / "postgres" / "data")
    finally:
        for server, folder in zip(servers, folders, strict=True):
            do(server.stop())
            remove(folder)
