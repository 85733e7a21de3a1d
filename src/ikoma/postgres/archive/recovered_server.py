"""A server of its own that recovers the whole cluster to a moment, for as long as a dump of one database takes.

It lies beside the live data folder under a passing name, listens on a socket in a folder that its user alone can enter,
archives nothing, replicates nothing and vacuums nothing. Only files of our own are laid into it: all of the log that it
needs is there before it starts, and it is given no command to fetch more. Its folder is flocked while its maker lives;
what a kill has left is ended by its id, and removed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.durable import make_folder, remove_tree
from ikoma.errors import ArchiveBroken, DatabasesUnavailable, RecoveryFailed, TimeOutsideWindow
from ikoma.moments import EntryTime
from ikoma.ports.databases import Credentials, Endpoint
from ikoma.postgres.archive import tools
from ikoma.postgres.connect import connected
from ikoma.postgres.server import cluster, postmaster
from ikoma.postgres.server.server import ADMIN_OPTIONS, APP_OPTIONS
from ikoma.processes import end_process, is_alive
from ikoma.run import run, serve

_SECONDS = 12 * 3600.0
_STOP_SECONDS = 20.0
_POLL = 0.05
_LONGEST_SOCKET = 107
_PORT = 1
_MANY = 1000
"""Files that one command copies."""

# Without hot_standby it takes connections once it has arrived, and may be smaller than the server it is a copy of. It
# is thrown away: nothing of it need survive a power cut.
_CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
port = {port}
hot_standby = off
restore_command = 'false'
recovery_target_time = '{time}'
recovery_target_inclusive = on
recovery_target_action = 'promote'
recovery_target_timeline = 'current'
archive_mode = off
autovacuum = off
fsync = off
full_page_writes = off
synchronous_commit = off
max_wal_senders = 0
max_replication_slots = 0
max_connections = 20
max_locks_per_transaction = {locks}
max_prepared_transactions = {prepared}
shared_buffers = 128MB
max_wal_size = 4GB
checkpoint_timeout = 1h
temp_file_limit = 8GB
log_min_messages = 'log'
log_error_verbosity = 'terse'
log_min_error_statement = 'panic'
log_line_prefix = ''
logging_collector = off
"""
_HBA = "local all all trust\n"
_NO_LOCALE = "database locale is incompatible with operating system"
_LOCALE_HINT = (
    "`SELECT datcollate FROM pg_database` names it: install it there, or restore a backup: db.restore with "
    "`backupName`. Nothing was changed."
)
_NOT_REACHED = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """The files that a server recovers from, and the moment. All are there, in their order."""

    copies: Sequence[Path]
    """A full base backup, and the incremental ones after it."""
    segments: Sequence[Path]
    time: EntryTime
    prepared: int
    """The live server's max_prepared_transactions: those that are open at that moment are read too."""
    admin: str
    """The platform's own role."""


class RecoveredServer:
    """The server, as those see it that make a dump of a database."""

    def __init__(self, folder: Path, admin: str) -> None:
        """
        Args:
            admin: the platform's own role.
        """
        self._folder = folder
        self._admin = admin

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    def hand_over(self) -> None:
        return None

    async def set_app_address(self, address: str | None) -> None:
        return None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(str(self._folder), _PORT, on_this_machine=False)

    def measure_free_space(self) -> int | None:
        return None

    def make_admin_login(self, database: str | None = None) -> dict[str, Any]:
        return self._connect(self._admin, database or "postgres", ADMIN_OPTIONS)

    def make_app_login(self, credentials: Credentials) -> dict[str, Any]:
        return self._connect(credentials.role, credentials.database, APP_OPTIONS)

    def _connect(self, user: str, database: str, options: str) -> dict[str, Any]:
        place = {"host": str(self._folder), "port": _PORT}
        return {**place, "user": user, "password": "", "dbname": database, "options": options}


@asynccontextmanager
async def recovered(root: Path, program: Path, recovery: RecoveryPlan) -> AsyncIterator[RecoveredServer]:
    """A server that has recovered, for the block; nothing of it is left after.

    Args:
        root: the folder for all such servers.
        program: the folder of PostgreSQL's programs, which the server's user can reach.
    """
    folder = _make_folder(root)
    lock = _take_lock(folder)
    process: Process | None = None
    try:
        if len(os.fsencode(folder / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET:
            raise RecoveryFailed(f"The path {folder} is too long for a socket.", hint="Put IKOMA_STATE elsewhere.")
        await _lay_out(folder, program, recovery)
        argv = [str(program / "bin" / "postgres"), "-D", str(folder / "data")]
        user = cluster.find_system_user()
        process = await serve(argv, log=folder / "log", user=user, dies_with_us=True)
        server = RecoveredServer(folder, recovery.admin)
        await _wait_until_recovered(server, process, folder / "log", recovery)
        yield server
    finally:
        await asyncio.shield(_end(folder, process))
        os.close(lock)


async def sweep(root: Path) -> None:
    """End and remove what killed processes have left; what others work with stays."""
    for folder in _list_folders(root):
        with suppress(BlockingIOError):
            lock = _take_lock(folder)
            try:
                await _end(folder, None)
            finally:
                os.close(lock)


def _make_folder(root: Path) -> Path:
    make_folder(root, 0o711)
    folder = root / secrets.token_hex(4)
    make_folder(folder, 0o700)
    return folder


def _list_folders(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []


def _take_lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


async def _lay_out(folder: Path, program: Path, recovery: RecoveryPlan) -> None:
    """Copy the base backup and the log, and say where to end."""
    data = folder / "data"
    if len(recovery.copies) == 1:
        await _copy([str(recovery.copies[0])], data)
    else:
        await _combine(program, recovery.copies, data)
    wal = data / "pg_wal"
    for number in range(0, len(recovery.segments), _MANY):
        await _copy([str(path) for path in recovery.segments[number : number + _MANY]], wal, into=True)
    await asyncio.to_thread(_configure, folder, data, recovery)
    if (user := cluster.find_system_user()) is not None:
        owned = await run(["chown", "-R", "-h", f"{user}:", "--", str(folder)], timeout=_SECONDS)
        if owned.code != 0:
            raise RecoveryFailed("The copy cannot be given to PostgreSQL's user.")


async def _combine(program: Path, copies: Sequence[Path], target: Path) -> None:
    combined = await run(tools.combine(program / "bin" / "pg_combinebackup", copies, target), timeout=_SECONDS)
    if combined.code != 0:
        said = combined.stderr.decode(errors="replace").strip().splitlines()
        raise ArchiveBroken(f"The base backups cannot be combined: {said[-1] if said else combined.code}.")


async def _copy(sources: Sequence[str], target: Path, *, into: bool = False) -> None:
    # Short options: IKOMA's image may be made of one whose programs are BusyBox's.
    argv = ["cp", "-R", "-p", *(["-t", str(target)] if into else ["-T"]), "--", *sources]
    copied = await run([*argv, *([] if into else [str(target)])], timeout=_SECONDS)
    if copied.code != 0:
        said = copied.stderr.decode(errors="replace").strip().splitlines()
        raise RecoveryFailed(f"The archive cannot be copied: {said[-1] if said else copied.code}.")


def _configure(folder: Path, data: Path, recovery: RecoveryPlan) -> None:
    for path in (data / "pg_wal").iterdir():
        if path.name.endswith(".partial"):
            path.rename(path.with_name(path.name.removesuffix(".partial")))
    text = _CONF.format(
        folder=folder,
        port=_PORT,
        time=str(recovery.time).replace("T", " ").replace("Z", "+00"),
        locks=cluster.LOCKS // 20,
        prepared=recovery.prepared,
    )
    for name, content in (("postgresql.conf", text), ("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
        (data / name).unlink(missing_ok=True)
        (data / name).write_text(content)
    for name in ("postgresql.auto.conf", "standby.signal", "postmaster.pid"):
        (data / name).unlink(missing_ok=True)
    (data / "recovery.signal").touch()


async def _wait_until_recovered(server: RecoveredServer, process: Process, log: Path, recovery: RecoveryPlan) -> None:
    async with asyncio.timeout(_SECONDS):
        while True:
            with suppress(DatabasesUnavailable):
                async with connected(server.make_admin_login()) as connection:
                    row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
                if row == (False,):
                    return
            _require_locale(log)
            if process.returncode is not None:
                raise _explain(log, recovery)
            await asyncio.sleep(_POLL)


def _require_locale(log: Path) -> None:
    """Give up on a server that has arrived and lets nobody in."""
    if _NO_LOCALE in log.read_text(errors="replace"):
        raise RecoveryFailed(
            "The databases sort by a locale that is not installed where IKOMA recovers them.", hint=_LOCALE_HINT
        )


def _explain(log: Path, recovery: RecoveryPlan) -> TimeOutsideWindow | ArchiveBroken | RecoveryFailed:
    lines = log.read_text(errors="replace").splitlines()
    if any(_NOT_REACHED in line for line in lines):
        return TimeOutsideWindow(f"The archive ends before {recovery.time}.")
    fatal = [
        line.split(":", 1)[1].strip()
        for line in lines
        if line.startswith(("FATAL:", "PANIC:")) and "the database system is" not in line  # what it answers to us
    ]
    return RecoveryFailed(
        f"PostgreSQL does not recover from the archive: {fatal[0] if fatal else 'it gave no reason'}."
    )


async def _end(folder: Path, process: Process | None) -> None:
    """End the server without letting it write anything more, and remove all of it."""
    data = folder / "data"
    pid = process.pid if process is not None else postmaster.find_running(data)
    if pid is not None and is_alive(pid):
        await end_process(pid, signal.SIGQUIT, patience=_STOP_SECONDS)
    if process is not None:
        await process.wait()
    if data.is_dir():
        await asyncio.to_thread(postmaster.clear_away, data)
    await asyncio.to_thread(remove_tree, folder)


def find_room(root: Path) -> int:
    """Bytes that are free where recovered servers lie."""
    return shutil.disk_usage(root).free
