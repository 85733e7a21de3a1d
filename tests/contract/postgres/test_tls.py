"""The embedded PostgreSQL takes TLS at a port of its own, and plain connections as before."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop

from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from ikoma.postgres.server.certificates import Authority
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.tls_port import choose_stand_in
from tests.contract.conftest import remove, settings_of, state_folder
from tests.contract.postgres.conftest import Postgres, make_database

SSL_REQUEST = struct.pack("!II", 8, 80877103)


@pytest.fixture
def authority(postgres: Postgres, tmp_path: Path) -> str:
    """The file that an app verifies by."""
    file = tmp_path / "ca.crt"
    file.write_text(str(postgres.server.endpoint.certificate))
    return str(file)


def secure(postgres: Postgres, owned: Credentials, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
    parameters = {
        **postgres.server.make_app_login(owned),
        "port": postgres.server.endpoint.tls_port,
        "sslmode": "require",
    }
    return psycopg.connect(**{**parameters, **more}, autocommit=True)


def asked(postgres: Postgres, ask: Any) -> Any:
    """Ask in a thread, while the loop of the server runs."""
    return postgres.do(asyncio.to_thread(ask))


def test_an_app_enters_by_tls(postgres: Postgres, owned: Credentials) -> None:
    def ask() -> tuple[Any, ...]:
        with secure(postgres, owned) as session:
            assert session.pgconn.ssl_in_use
            address = session.execute("SELECT client_addr::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
            return (*session.execute("SELECT current_user::text").fetchone(), *address.fetchone())  # type: ignore[misc]

    assert asked(postgres, ask) == (owned.role, "127.128.0.1/32")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_who_has_the_authority_can_verify(postgres: Postgres, owned: Credentials, authority: str, mode: str) -> None:
    for host in ("localhost", "127.0.0.1"):
        by = {"host": host, "sslmode": mode, "sslrootcert": authority}
        asked(postgres, partial(secure, postgres, owned, **by)).close()
    # What containers call it is in the certificate too.
    known = {"host": "ikoma-postgres", "hostaddr": "127.0.0.1", "sslmode": mode, "sslrootcert": authority}
    asked(postgres, lambda: secure(postgres, owned, **known).close())


def test_a_server_of_another_authority_is_not_believed(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    Authority(tmp_path / "other").make_context(["localhost"])
    other = str(tmp_path / "other" / "ca.crt")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        asked(postgres, lambda: secure(postgres, owned, sslmode="verify-ca", sslrootcert=other))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_who_insists_on_plain_goes_on_as_before(postgres: Postgres, owned: Credentials, mode: str) -> None:
    with psycopg.connect(**postgres.server.make_app_login(owned), sslmode=mode) as session:
        assert not session.pgconn.ssl_in_use
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_the_platforms_role_does_not_come_by_this_port(postgres: Postgres) -> None:
    admin = {**postgres.server.make_admin_login(), "port": postgres.server.endpoint.tls_port, "sslmode": "require"}
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        asked(postgres, lambda: psycopg.connect(**admin))


def test_an_app_enters_no_other_database_by_it(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    other = make_database(postgres, AppName(f"{app}-other"))
    try:
        for database in (other.database, "postgres"):
            with pytest.raises(psycopg.OperationalError):
                asked(postgres, partial(secure, postgres, owned, dbname=database))
    finally:
        postgres.do(postgres.databases.drop(AppName(f"{app}-other")))


def test_who_speaks_plainly_at_this_port_is_told(postgres: Postgres, owned: Credentials) -> None:
    with pytest.raises(psycopg.OperationalError, match="this port takes TLS only"):
        asked(postgres, lambda: secure(postgres, owned, sslmode="disable"))


def test_much_goes_through_in_both_directions_for_many_at_once(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE TABLE t (n int, x text)")

    def ask() -> list[int]:
        counted: list[int] = []

        def one(number: int) -> None:
            with secure(postgres, owned) as session:
                with session.cursor().copy("COPY t FROM STDIN") as copy:
                    for _ in range(2000):
                        copy.write_row((number, "x" * 1000))
                found = session.execute("SELECT x FROM t WHERE n = %s", (number,)).fetchall()
                counted.append(sum(len(text) for (text,) in found))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counted

    assert asked(postgres, ask) == [2_000_000] * 10


CANCEL = """
import os, threading, time, psycopg
where = os.environ["WHERE"]
with psycopg.connect(where, autocommit=True) as session, psycopg.connect(where, autocommit=True) as other:
    asked = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    def cancel():
        while not other.execute(asked).rowcount:
            time.sleep(0.05)
        getattr(session, os.environ["HOW"])()
    threading.Thread(target=cancel, daemon=True).start()
    try:
        session.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        print("cancelled")
"""


@pytest.mark.parametrize("how", ["cancel", "cancel_safe"])
def test_a_statement_can_be_cancelled_by_tls_and_plainly(postgres: Postgres, owned: Credentials, how: str) -> None:
    parameters = {
        **postgres.server.make_app_login(owned),
        "port": postgres.server.endpoint.tls_port,
        "sslmode": "require",
    }
    env = {"WHERE": psycopg.conninfo.make_conninfo(**parameters), "HOW": how}

    def ask() -> str:
        argv = [sys.executable, "-c", CANCEL]  # its own process: this call holds all threads of one
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=True).stdout

    assert asked(postgres, ask) == "cancelled\n"


def test_what_came_unenciphered_is_never_taken_for_more(postgres: Postgres) -> None:
    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", int(postgres.server.endpoint.tls_port or 0)), timeout=60) as plain:
            plain.sendall(SSL_REQUEST + b"Q\0\0\0\x0eSELECT 1;\0")
            return plain.recv(1)

    assert asked(postgres, ask) in (b"E", b"")


def test_a_client_that_goes_away_leaves_no_session(postgres: Postgres, owned: Credentials) -> None:
    def ask() -> None:
        for _ in range(5):
            session = secure(postgres, owned)
            session.execute("SELECT 1")
            with socket.socket(fileno=os.dup(session.fileno())) as ours:
                ours.shutdown(socket.SHUT_RDWR)
        with psycopg.connect(**postgres.server.make_app_login(owned), autocommit=True) as other:
            counting = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
            for _ in range(2000):
                if other.execute(counting).fetchone() == (0,):
                    return
                other.execute("SELECT pg_sleep(0.05)")
            raise AssertionError("sessions stay")

    asked(postgres, ask)


def test_silent_clients_take_no_more_than_their_share_of_the_servers_descriptors(postgres: Postgres) -> None:
    port = int(postgres.server.endpoint.tls_port or 0)

    def come(source: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))

    def ask() -> tuple[int, bytes]:
        before = len(os.listdir("/proc/self/fd"))
        silent = [come("127.0.0.3") for _ in range(400)]
        with come("127.0.0.4") as other:
            other.sendall(SSL_REQUEST)
            answer = other.recv(1)  # those before it were taken or turned away by now
            held = len(os.listdir("/proc/self/fd")) - before - len(silent)
        for client in silent:
            client.close()
        return held, answer

    held, answer = asked(postgres, ask)
    assert answer == b"S"
    assert held < 150


def test_no_client_stands_for_this_machine() -> None:
    assert choose_stand_in("172.17.0.5") == "127.145.0.5"
    assert {choose_stand_in(address) for address in ("10.0.0.1", "172.0.0.1", "127.0.0.1")} == {"127.128.0.1"}


def test_it_is_open_where_containers_reach_it_and_stays_what_it_was() -> None:
    folder = state_folder()

    async def started() -> tuple[Any, ...]:
        server = EmbeddedPostgres(settings_of(folder))
        await server.start()
        try:
            await server.set_app_address("127.0.0.2")
            endpoint = server.endpoint
            context = ssl.create_default_context(cadata=endpoint.certificate)
            async with asyncio.timeout(90):
                while True:
                    try:
                        reader, writer = await asyncio.open_connection("127.0.0.2", endpoint.tls_port)
                        break
                    except OSError:
                        await asyncio.sleep(0.05)
            writer.write(SSL_REQUEST)
            assert await reader.readexactly(1) == b"S"
            await writer.start_tls(context, server_hostname="ikoma-postgres")
            writer.close()
            return endpoint.tls_port, endpoint.certificate
        finally:
            await server.stop()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as of_the_server:  # as `ikoma up` does
            first = of_the_server.run(started())
        assert asyncio.run(started()) == first
        mode = (folder / "postgres" / "tls" / "ca.key").stat().st_mode
        assert mode & 0o777 == 0o600
    finally:
        remove(folder)


def test_a_certificate_is_used_again_while_it_fits(tmp_path: Path) -> None:
    authority, file = Authority(tmp_path / "tls"), tmp_path / "tls" / "server.pem"
    authority.make_context(["localhost", "127.0.0.1"])
    first = file.read_bytes()
    authority.make_context(["127.0.0.1", "localhost"])
    assert file.read_bytes() == first
    for age in (366, -2):  # days: too old, and from a clock that was wrong
        moment = time.time() - age * 86_400
        os.utime(file, (moment, moment))
        authority.make_context(["localhost", "127.0.0.1"])
        assert file.read_bytes() != first
        first = file.read_bytes()
    authority.make_context(["localhost", "127.0.0.2"])
    assert file.read_bytes() != first
    file.write_bytes(file.read_bytes()[:200])
    authority.make_context(["localhost", "127.0.0.2"])
    (tmp_path / "tls" / "ca.crt").unlink()
    former = file.read_bytes()
    authority.make_context(["localhost", "127.0.0.2"])
    assert file.read_bytes() != former
