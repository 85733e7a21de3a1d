"""The archive of the whole server: what keeps it going, and how far back it reaches.

One process of a state looks after it. Two things go on in it: pg_receivewal writes the log as it comes, by a slot that
the server gives up before it fills the disk; once a day a base backup is made, and what no moment of the window needs
is removed. Neither ever ends by itself: what fails is said in `platform.check`, and tried again.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from ikoma.durable import make_folder
from ikoma.errors import ArchiveFailed, IkomaError
from ikoma.moments import format_moment, parse_moment
from ikoma.ports.archive import RecoveryWindow
from ikoma.postgres.archive import chain as chains
from ikoma.postgres.archive import tools
from ikoma.postgres.archive.base_backups import make_base_backup
from ikoma.postgres.archive.chain import Chain, ServerIdentity
from ikoma.postgres.archive.segments import locate, read_number, read_timeline
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import follow

log = logging.getLogger("ikoma.postgres")

_EVERY = timedelta(hours=24)
_LOOK_SECONDS, _CALM_SECONDS = 1.0, 5.0
_YEAR = 365 * 86_400.0
_POLL = 0.1
_ARCHIVE_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0

_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_walfile_name(pg_current_wal_lsn()),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
       current_setting('server_version_num')::int / 10000, current_setting('max_slot_wal_keep_size')
"""
_SLOT = "SELECT active, wal_status FROM pg_replication_slots WHERE slot_name = %s"
_MAKE_SLOT = "SELECT pg_create_physical_replication_slot(%s, true)"
_DROP_SLOT = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
# Which pages have changed, so that base backups can be incremental; no restart is needed. A summary that cannot be
# written keeps the log without a bound, so this is on only as long as somebody looks at the archive.
_SUMMARIZES = "SELECT current_setting('summarize_wal', true)"
_SUMMARIZE = "ALTER SYSTEM SET summarize_wal = on"
_SUMMARIZE_NO_MORE = "ALTER SYSTEM RESET summarize_wal"
_RELOAD = "SELECT pg_reload_conf()"
_BEHIND = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), r.write_lsn)::bigint
FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid WHERE s.slot_name = %s
"""


class Archive:
    """The archive under BACKUPS_ROOT/point-in-time."""

    def __init__(self, server: PostgresServer, backups_root: Path, days: int) -> None:
        self._server = server
        self._days = days
        self._problems: dict[str, str] = {}
        self.root = backups_root / "point-in-time"

    async def receive(self) -> None:
        """Write the server's log to the archive as it comes, until cancelled."""
        async with self._hold_alone("receiving"):
            await asyncio.to_thread(chains.sweep, self.root)
            await self._repeat("receiving", self._receive)

    async def look_after(self) -> None:
        """Make base backups and remove what is old, until cancelled."""
        async with self._hold_alone("base"):
            await self._repeat("base backups", self._make_base_backups)

    async def read_window(self) -> RecoveryWindow:
        """From when to when one can go back now."""
        async with connected(self._server.make_admin_login()) as connection:
            row = await (await connection.execute(_BEHIND, (tools.SLOT,))).fetchone()
        behind = None if row is None or row[0] is None else max(int(row[0]), 0)
        return await asyncio.to_thread(self._read_window, behind)

    def list_chains(self) -> list[Chain]:
        return chains.list_chains(self.root)

    async def wait_until_archived(self, chain: Chain, name: str, seconds: float = _ARCHIVE_SECONDS) -> None:
        """Wait until the segment of that name is in the archive; ArchiveFailed where it does not come."""
        path = chain.wal / name
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if path.is_file():
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise ArchiveFailed(f"The archive does not follow: {self._tell_problem() or 'nobody writes it'}.") from None

    def _read_window(self, behind: int | None) -> RecoveryWindow:
        now = datetime.now(UTC)
        known = self.list_chains()
        since, until = None, None
        if known:
            there = list(known[-1].list_segments())
            bases = known[-1].list_bases()
            whole = (base for base in bases if known[-1].is_linked(base, bases) and known[-1].reaches_on(base, there))
            since = next((base.finished for base in whole), None)
            until = now if behind == 0 else known[-1].read_last_write()
        problem = self._tell_problem() or ("nobody writes the archive" if behind is None else None)
        if since is None or until is None:
            return RecoveryWindow(None, None, None, behind, problem or "the first base backup is not made yet")
        # Whole seconds inside of it: what is shown can be given.
        first = format_moment(parse_moment(since).replace(microsecond=0) + timedelta(seconds=1))
        lag = max((now - until).total_seconds(), 0)
        return RecoveryWindow(first, format_moment(until.replace(microsecond=0)), round(lag, 3), behind, problem)

    def _tell_problem(self) -> str | None:
        return "; ".join(self._problems.values()) or None

    # --- the work ---

    @asynccontextmanager
    async def _hold_alone(self, work: str) -> AsyncIterator[None]:
        """Wait until no other process of this state does this work."""
        self.root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_folder(self.root, 0o700)
        descriptor = os.open(self.root / f"{work}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await work()
            except (IkomaError, psycopg.Error, OSError) as error:
                said = error.message if isinstance(error, IkomaError) else f"{type(error).__name__}: {error}"
                if self._problems.get(name) != said:
                    log.error("point in time, %s: %s", name, said)
                self._problems[name] = said.rstrip(".")
            if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _receive(self) -> None:
        chain = await self._open_chain()
        chain.drop_unusable()
        parameters = self._server.make_admin_login()
        program = await find_tool("pg_receivewal", chain.identity.major)
        said: list[str] = []
        streaming = asyncio.ensure_future(
            follow(
                tools.receive_wal(program, chain.wal, parameters),
                on_line=lambda line: said.append(line) if len(said) < 100 else None,
                env={"PGPASSWORD": parameters["password"]},
                timeout=_YEAR,
            )
        )
        try:
            await asyncio.wait([streaming], timeout=_LOOK_SECONDS)
            if not streaming.done():
                self._problems.pop("receiving", None)
            await asyncio.wait([streaming])
        finally:
            streaming.cancel()
            await asyncio.wait([streaming])
        tools.require_room_left(said)
        raise ArchiveFailed(f"pg_receivewal ended: {said[-1] if said else 'it gave no reason'}.")

    async def _open_chain(self) -> Chain:
        """The chain that the server's log goes on with: the last one, or a new one where that has ended."""
        async with connected(self._server.make_admin_login()) as connection:
            identity = await read_identity(connection)
            await _start_summaries(connection)
            row = await (await connection.execute(_SLOT, (tools.SLOT,))).fetchone()
            known = self.list_chains()
            current = row is not None and row[1] != "lost" and known and known[-1].identity == identity
            if current and not await self._has_gone_back(connection, known[-1]):
                return known[-1]
            if known:
                log.warning("point in time: the log cannot go on where the archive ends; a new base backup is made")
            if row is not None:
                await connection.execute(_DROP_SLOT, (tools.SLOT,))
            chain = Chain.begin(self.root, identity)
            await connection.execute(_MAKE_SLOT, (tools.SLOT,))
            return chain

    async def _has_gone_back(self, connection: Connection, chain: Chain) -> bool:
        """Whether the server has not come as far as the archive has: its data folder is an earlier one."""
        row = await (await connection.execute("SELECT pg_current_wal_lsn()::text")).fetchone()
        assert row is not None
        size = chain.identity.segment
        return any(read_number(name, size) > locate(row[0], size) for name in chain.list_segments())

    async def _make_base_backups(self) -> None:
        while True:
            known = self.list_chains()
            if known:
                if self._is_due(known[-1]):
                    archived = partial(self.wait_until_archived, known[-1])
                    base = await make_base_backup(self._server, known[-1], archived)
                    kind = "base backup" if base.parent is None else "incremental base backup"
                    log.info("point in time: %s %s, %d MiB", kind, base.name, base.size >> 20)
                for chain in known:
                    await asyncio.to_thread(chain.prune, self._days, is_last=chain is known[-1])
                self._problems.pop("base backups", None)
            await asyncio.sleep(_CALM_SECONDS if known and known[-1].list_bases() else _LOOK_SECONDS)

    def _is_due(self, chain: Chain) -> bool:
        bases = chain.list_bases()
        if not bases or not chain.is_linked(bases[-1], bases):
            return True
        if not chain.reaches_on(bases[-1], list(chain.list_segments())):
            return True
        return datetime.now(UTC) - parse_moment(bases[-1].finished) > _EVERY


async def read_identity(connection: Connection) -> ServerIdentity:
    """Say whose log it is; ArchiveFailed where the server would keep it until its disk is full."""
    row: Any = await (await connection.execute(_IDENTITY)).fetchone()
    system, segment_name, segment, major, bound = row
    if bound == "-1":
        raise ArchiveFailed(
            "PostgreSQL's max_slot_wal_keep_size is not set: an archive that stops would fill its disk.",
            hint="ALTER SYSTEM SET max_slot_wal_keep_size = '2GB'; SELECT pg_reload_conf();",
        )
    return ServerIdentity(system, read_timeline(segment_name), segment, major)


async def _start_summaries(connection: Connection) -> None:
    """Let base backups be incremental; where the server does not do that, or not for this role, they are full."""
    row = await (await connection.execute(_SUMMARIZES)).fetchone()
    if row == ("off",):
        with suppress(psycopg.errors.InsufficientPrivilege):
            await connection.execute(_SUMMARIZE)
            await connection.execute(_RELOAD)


async def drop_slot(server: PostgresServer) -> None:
    """Let the server keep nothing for an archive that is switched off."""
    async with connected(server.make_admin_login()) as connection:
        row = await (await connection.execute(_SLOT, (tools.SLOT,))).fetchone()
        await connection.execute(_DROP_SLOT, (tools.SLOT,))
        if row is not None:
            with suppress(psycopg.errors.InsufficientPrivilege):
                await connection.execute(_SUMMARIZE_NO_MORE)
                await connection.execute(_RELOAD)
