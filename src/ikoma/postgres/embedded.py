"""The PostgreSQL that IKOMA brings and runs itself.

It runs as a system user of its own and outlives a crash of the server, so that the apps' databases stay up; the
next start takes it over. It is restarted with back-off when it dies, and stopped cleanly when the server stops.
Where several servers share one state, one of them looks after PostgreSQL; another takes over when that one ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ikoma.durable import write_file
from ikoma.errors import DatabasesUnavailable, StartRefused
from ikoma.ports import Credentials, Endpoint
from ikoma.postgres import cluster
from ikoma.postgres.connect import connect, connected
from ikoma.postgres.server import ADMIN_OPTIONS, HOST_NAME
from ikoma.run import serve
from ikoma.settings import Settings

log = logging.getLogger("ikoma.postgres")

_READY_SECONDS = 60.0
_POLL = 0.02
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_STOP_SECONDS = 30.0
_ORPHAN_SECONDS = 2.0


class EmbeddedPostgres:
    """One server on one data folder, under IKOMA_STATE/postgres."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.ikoma_state / "postgres"
        self._lock: int | None = None
        self._gateway: str | None = None
        self._port = 0
        self._password = ""
        self._pid = 0
        self._looking_after: asyncio.Task[None] | None = None
        self._restarting = asyncio.Lock()

    async def start(self) -> None:
        """Have a server that answers: start it, or take over the one that runs."""
        cluster.make_folders(self._root)
        if self._try_lock():
            await self._bring_up()
            self._looking_after = asyncio.ensure_future(self._look_after())
        else:
            await self._wait_for_the_other()
            self._looking_after = asyncio.ensure_future(self._inherit())

    async def stop(self) -> None:
        """Stop the server cleanly, if it is ours to stop."""
        if self._looking_after is not None:
            self._looking_after.cancel()
            await asyncio.wait([self._looking_after])
        if self._lock is not None:
            await self._shut_down()
            os.close(self._lock)
            self._lock = None

    async def set_gateway(self, address: str | None) -> None:
        """Listen on this address too, for containers; restarts the server where it does not yet."""
        if address is None or address == self._gateway:
            return
        self._gateway = address
        if self._pid and self._lock is not None and cluster.configure(self._root, self._port, address):
            log.info("PostgreSQL is restarted to listen on %s", address)
            async with self._restarting:
                await self._shut_down()
                await self._bring_up()

    def endpoint(self) -> Endpoint:
        return Endpoint(HOST_NAME, self._port, host_gateway=True)

    def admin(self, database: str | None = None) -> dict[str, Any]:
        parameters = self._parameters(cluster.ADMIN, self._password, database or "postgres")
        return {**parameters, "options": ADMIN_OPTIONS}

    def as_app(self, credentials: Credentials) -> dict[str, Any]:
        return self._parameters(credentials.role, credentials.password.reveal(), credentials.database)

    def _parameters(self, user: str, password: str, database: str) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self._port, "user": user, "password": password, "dbname": database}

    async def _bring_up(self) -> None:
        self._gateway = self._gateway or cluster.remembered_gateway(self._root)
        program = await cluster.create(self._root, self._settings.postgres_password)
        self._password = cluster.password(self._root)
        self._port = self._settings.postgres_port or cluster.remembered_port(self._root) or _free_port()
        stale = cluster.configure(self._root, self._port, self._gateway)
        self._pid = _running(self._root) or 0
        if self._pid and stale:
            await self._shut_down()
        if not self._pid:
            if _answers(self._port):
                raise StartRefused(
                    f"Port {self._port} is in use, and apps know IKOMA's PostgreSQL by that port.",
                    hint="Stop what listens there, or set POSTGRES_PORT before the first app has a database.",
                )
            await asyncio.to_thread(_clear_away, self._root / "data")
            process = await serve(
                [str(program / "bin" / "postgres"), "-D", str(self._root / "data")],
                log=self._root / "start.log",
                user=cluster.system_user(),
            )
            self._pid = process.pid
        await self._wait_until_ready()
        write_file(self._root / "port", str(self._port))

    async def _wait_until_ready(self) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while True:
            try:
                # It may die again before this is through: then it is away, like one that never answered.
                async with connected(self.admin()) as connection:
                    await cluster.close_to_public(connection)
            except DatabasesUnavailable as error:
                if not psutil.pid_exists(self._pid) or asyncio.get_running_loop().time() > deadline:
                    raise StartRefused(
                        f"PostgreSQL did not start: {cluster.last_words(self._root)}",
                        hint=f"Its log is in {self._root}.",
                    ) from error
                await asyncio.sleep(_POLL)
            else:
                return

    async def _shut_down(self) -> None:
        """Fast shutdown: sessions are ended, everything is written."""
        if not self._pid:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await _ended(self._pid)
            except TimeoutError:
                log.warning("PostgreSQL did not stop within %s s; its next start recovers", _STOP_SECONDS)
                os.kill(self._pid, signal.SIGQUIT)
                await _ended(self._pid)
        self._pid = 0

    async def _look_after(self) -> None:
        """Restart the server whenever it dies unasked."""
        pause = _FIRST_PAUSE
        while True:
            pid = self._pid
            began = asyncio.get_running_loop().time()
            if pid:
                await _ended(pid)
            async with self._restarting:
                if self._pid not in (pid, 0):
                    continue  # it was restarted on purpose meanwhile
                self._pid = 0
                if asyncio.get_running_loop().time() - began > 60:
                    pause = _FIRST_PAUSE
                log.warning("PostgreSQL ended; starting it again in %s s", pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                try:
                    await self._bring_up()
                except (StartRefused, OSError) as error:
                    self._pid = 0
                    log.error("PostgreSQL cannot be started: %s", error)

    async def _wait_for_the_other(self) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while True:
            port = cluster.remembered_port(self._root)
            if port is not None:
                self._port, self._password = port, cluster.password(self._root)
                with suppress(DatabasesUnavailable):
                    await (await connect(self.admin())).close()
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise StartRefused("Another server on this state does not bring PostgreSQL up.")
            await asyncio.sleep(0.1)

    async def _inherit(self) -> None:
        while not self._try_lock():  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(1)
        await self._bring_up()
        await self._look_after()

    def _try_lock(self) -> bool:
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True


def _running(root: Path) -> int | None:
    """The pid of the postmaster of this data folder, if one is alive."""
    data = root / "data"
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split("\n", 1)[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
        return process.pid if alive else None
    except (OSError, ValueError, psutil.Error):
        return None


def _clear_away(data: Path) -> None:
    """Remove what a killed postmaster leaves: backends still at work, and a pid that may be another's by now.

    The file itself stays. Its last lines name the shared memory, by which PostgreSQL sees that nobody else is at the
    data; without them two servers could write to it at once. A pid of its parent counts as nobody's.
    """
    orphans = [process for process in psutil.process_iter(["name", "cwd"]) if _is_orphan(process, data)]
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
    for process in psutil.wait_procs(orphans, timeout=_ORPHAN_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(orphans, timeout=_ORPHAN_SECONDS)
    with suppress(FileNotFoundError):
        lines = (data / "postmaster.pid").read_text().split("\n")
        owner = (data / "postmaster.pid").stat()
        write_file(data / "postmaster.pid", "\n".join([str(os.getpid()), *lines[1:]]), mode=0o600)
        os.chown(data / "postmaster.pid", owner.st_uid, owner.st_gid)


def _is_orphan(process: psutil.Process, data: Path) -> bool:
    return bool(process.info["name"] == "postgres" and process.info["cwd"] == str(data))


async def _ended(pid: int) -> None:
    """Returns when the process has ended, whether or not it is our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    return next(port for port in range(5432, 65536) if not _answers(port))
