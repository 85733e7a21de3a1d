"""The PostgreSQL that IKOMA brings and runs itself.

It runs as a system user of its own and outlives a crash of the server, so that the apps' databases stay up; the
next start takes it over. It is restarted with back-off when it dies, and stopped cleanly when the server stops.
Where several servers share one state, one of them looks after PostgreSQL; another takes over when that one ends.
One task does all of that, so that no two steps can meet; everyone else only tells it what is wanted.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any

from ikoma.durable import write_file
from ikoma.errors import DatabasesUnavailable, DiskFull, StartRefused
from ikoma.ports.databases import Credentials, Endpoint
from ikoma.postgres.connect import connect, connected
from ikoma.postgres.server import cluster, postmaster
from ikoma.postgres.server.majors import read_major
from ikoma.postgres.server.server import ADMIN_OPTIONS, APP_OPTIONS, HOST_NAME
from ikoma.postgres.server.tls_port import TlsDoor
from ikoma.processes import is_alive, wait_until_ended
from ikoma.run import serve
from ikoma.settings import Settings

log = logging.getLogger("ikoma.postgres")

_READY_SECONDS = 600.0  # after a crash of the machine it first reads what it has not yet written to its tables
_OTHER_SECONDS = 60.0
_MOVE_SECONDS = 30.0
_POLL = 0.02
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_STEADY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LET_GO_SECONDS = 3.0
_PORTS_TRIED = 3
_FIRST_WITH_TIMEOUT = 17


class EmbeddedPostgres:
    """One server on one data folder, under IKOMA_STATE/postgres."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.postgres_folder
        self._data = self._root / "data"
        self._port = 0
        self._password = ""
        self._app_address: str | None = None  # where containers are to reach it
        self._listening: str | None = None  # where they do, besides the loopback address
        self._pid = 0
        self._process: Process | None = None  # when it is our child
        self._is_keeper = False
        self._stopping = False
        self._leaves = False
        self._nudge = asyncio.Event()
        self._settled = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._door = TlsDoor(self._root, lambda: self._port)

    async def start(self) -> None:
        """Have a server that answers: start it, or take over the one that runs."""
        cluster.make_folders(self._root)
        self._stopping = False
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.ensure_future(self._keep(ready))
        try:
            await ready
            await self._door.open()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server cleanly, if it is ours to stop."""
        await self._door.close()
        self._stopping = True
        self._nudge.set()
        if self._keeping is not None:
            await asyncio.wait([self._keeping])

    def hand_over(self) -> None:
        """Let the server run on when this one stops: the process must end at once then, or asyncio kills its child."""
        self._leaves = True

    async def set_app_address(self, address: str | None) -> None:
        """Listen on this address too, for containers; restarts the server where it does not yet."""
        if address is None:
            return
        self._app_address = address
        self._door.add(address)
        try:
            async with asyncio.timeout(_MOVE_SECONDS):
                while self._is_keeper and self._needs_to_move():  # it may be coming up with what it was told before
                    self._settled.clear()
                    self._nudge.set()
                    await self._settled.wait()
        except TimeoutError:
            raise StartRefused(f"PostgreSQL did not come back after it was told of {address}.") from None

    @property
    def pid(self) -> int:
        """The process that all of PostgreSQL's others are children of; 0 while it is not ours to look after."""
        return self._pid

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            HOST_NAME, self._port, on_this_machine=True, tls_port=self._door.port, certificate=self._door.certificate
        )

    def make_admin_login(self, database: str | None = None) -> dict[str, Any]:
        parameters = self._make_parameters(cluster.ADMIN, self._password, database or "postgres")
        return {**parameters, "options": ADMIN_OPTIONS}

    def measure_free_space(self) -> int | None:
        return shutil.disk_usage(self._data).free

    def make_app_login(self, credentials: Credentials) -> dict[str, Any]:
        parameters = self._make_parameters(credentials.role, credentials.password.reveal(), credentials.database)
        # A server before PostgreSQL 17 lets nobody in who names it.
        more = " -c transaction_timeout=0" if (read_major(self._data) or 0) >= _FIRST_WITH_TIMEOUT else ""
        return {**parameters, "options": f"{APP_OPTIONS}{more}"}

    def _make_parameters(self, user: str, password: str, database: str) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self._port, "user": user, "password": password, "dbname": database}

    # --- the one task ---

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        """Wait for our turn, keep the server up, and stop it in the end."""
        lock = None
        try:
            lock = await self._take_turn(ready)
            if lock is not None:
                self._is_keeper = True
                await self._keep_up(ready)
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._is_keeper = False
            if lock is not None:
                if not self._leaves:
                    await self._shut_down()
                os.close(lock)
            self._settled.set()

    async def _take_turn(self, ready: asyncio.Future[None]) -> int | None:
        """Wait until no other server looks after PostgreSQL, using what it runs; None when asked to stop first."""
        deadline = _read_clock() + _OTHER_SECONDS
        while (lock := self._try_lock()) is None and not self._stopping:
            if not ready.done() and await self._find_the_others():
                ready.set_result(None)
            if not ready.done() and _read_clock() > deadline:
                raise StartRefused("Another server on this state does not bring PostgreSQL up.")
            await self._wait_briefly(1 if ready.done() else 0.1)
        return lock

    def _try_lock(self) -> int | None:
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    async def _find_the_others(self) -> bool:
        port = cluster.read_remembered_port(self._root)
        if port is None:
            return False
        self._port, self._password = port, cluster.read_password(self._root)
        try:
            await (await connect(self.make_admin_login())).close()
        except DatabasesUnavailable:
            return False
        return True

    async def _keep_up(self, ready: asyncio.Future[None]) -> None:
        """Start the server, and again whenever it dies unasked or must listen elsewhere."""
        pause = _FIRST_PAUSE
        while not self._stopping:
            began = _read_clock()
            try:
                await self._bring_up()
            except (StartRefused, DiskFull, OSError) as error:
                if not ready.done():
                    raise
                if not self._stopping:
                    log.error("PostgreSQL cannot be started: %s", error)
                await self._shut_down()
            else:
                if not ready.done():
                    ready.set_result(None)
                await self._wait_until_ended_or_told()
                if not self._stopping and is_alive(self._pid):
                    log.info("PostgreSQL is restarted to listen on %s", self._app_address)
                    await self._shut_down()
                    continue
            if self._stopping:
                break
            pause = _FIRST_PAUSE if _read_clock() - began > _STEADY_SECONDS else pause
            log.warning("PostgreSQL ended; starting it again in %s s", pause)
            await self._wait_briefly(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _bring_up(self) -> None:
        versions = self._settings.ikoma_home / "versions"
        program = await cluster.create(self._root, self._settings.postgres_password, versions)
        self._password = cluster.read_password(self._root)
        known_port = self._settings.postgres_port or cluster.read_remembered_port(self._root)
        for tries_left in reversed(range(1 if known_port else _PORTS_TRIED)):
            self._port = known_port or postmaster.find_free_port()
            try:
                await self._launch(str(program / "bin" / "postgres"))
                break
            except StartRefused:
                if not tries_left or self._stopping:
                    raise
                await self._shut_down()  # another may have taken the port that was free a moment ago
        write_file(self._root / "port", str(self._port))
        self._settled.set()

    async def _launch(self, program: str) -> None:
        wanted = self._app_address or cluster.read_remembered_address(self._root)
        listening = wanted if wanted and postmaster.is_address_here(wanted) else None
        stale = cluster.configure(self._root, self._port, listening)
        self._pid = postmaster.find_running(self._data) or 0
        if self._pid and stale:
            await self._shut_down()
        if not self._pid or not await self._take_over():
            await self._start_own(program)
        self._listening = listening

    async def _take_over(self) -> bool:
        """Take over the server that runs; False where it was just being killed."""
        try:
            await self._wait_until_ready()
        except StartRefused:
            if self._stopping or is_alive(self._pid):
                raise
            self._pid = 0
            return False
        return True

    async def _start_own(self, program: str) -> None:
        if not await self._is_let_go():
            raise self._refuse_port()
        await asyncio.to_thread(postmaster.clear_away, self._data)
        argv = [program, "-D", str(self._data)]
        self._process = await serve(argv, log=self._root / "start.log", user=cluster.find_system_user())
        self._pid = self._process.pid
        await self._wait_until_ready()

    async def _is_let_go(self) -> bool:
        """Whether nobody listens at the port; one who was killed a moment ago may do so still."""
        deadline = _read_clock() + _LET_GO_SECONDS
        while postmaster.is_taken(self._port):
            if _read_clock() > deadline or self._stopping:
                return False
            await asyncio.sleep(_FIRST_PAUSE)
        return True

    async def _wait_until_ready(self) -> None:
        deadline = _read_clock() + _READY_SECONDS
        while True:
            try:
                # It may die again before this is through: then it is away, like one that never answered.
                async with connected(self.make_admin_login()) as connection:
                    cursor = await connection.execute("SHOW data_directory")
                    if await cursor.fetchone() != (str(self._data),):
                        raise self._refuse_port()
                    await cluster.close_to_public(connection)
            except DatabasesUnavailable as error:
                if self._stopping:
                    raise StartRefused("PostgreSQL was stopped while it started.") from error
                if not is_alive(self._pid) or _read_clock() > deadline:
                    raise StartRefused(
                        f"PostgreSQL did not start: {cluster.read_last_words(self._root)}",
                        hint=f"Its log is in {self._root}.",
                    ) from error
                await asyncio.sleep(_POLL)
            else:
                return

    def _refuse_port(self) -> StartRefused:
        return StartRefused(
            f"Port {self._port} is in use, and apps know IKOMA's PostgreSQL by that port.",
            hint="Stop what listens there, or set POSTGRES_PORT before the first app has a database.",
        )

    async def _wait_until_ended_or_told(self) -> None:
        """Returns when the server has ended, when it must listen elsewhere, or when it is to stop."""
        gone = asyncio.ensure_future(wait_until_ended(self._pid))
        try:
            while not (gone.done() or self._stopping or self._needs_to_move()):
                told = asyncio.ensure_future(self._nudge.wait())
                await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                self._nudge.clear()
        finally:
            gone.cancel()

    def _needs_to_move(self) -> bool:
        wanted = self._app_address
        return wanted is not None and wanted != self._listening and postmaster.is_address_here(wanted)

    async def _wait_briefly(self, seconds: float) -> None:
        """Wait, but not longer than until something is wanted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        self._nudge.clear()

    async def _shut_down(self) -> None:
        """Fast shutdown: sessions are ended, everything is written."""
        if not self._pid:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await wait_until_ended(self._pid)
            except TimeoutError:
                log.warning("PostgreSQL did not stop within %s s; its next start recovers", _STOP_SECONDS)
                os.kill(self._pid, signal.SIGQUIT)
                await wait_until_ended(self._pid)
        if self._process is not None and self._process.pid == self._pid:
            await self._process.wait()
        self._pid = 0


def _read_clock() -> float:
    return asyncio.get_running_loop().time()
