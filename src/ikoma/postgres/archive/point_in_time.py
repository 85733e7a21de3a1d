"""Goes back to a second of one app's database: what is needed of the archive is chosen and checked, then recovered.

It fails closed. Either a transaction that was committed after the wanted moment is known to be in the archive (one is
made where there may be none), or PostgreSQL itself refuses to end before it has come to that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from ikoma.errors import ArchiveBroken, ArchiveFailed, DatabaseMissing, DiskFull, RecoveryFailed, TimeOutsideWindow
from ikoma.model import AppName
from ikoma.moments import EntryTime, format_moment, parse_moment
from ikoma.ports.archive import RecoveryWindow
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress
from ikoma.postgres import provision
from ikoma.postgres.archive import recovered_server
from ikoma.postgres.archive.archive import Archive, read_identity
from ikoma.postgres.archive.base_backups import verify
from ikoma.postgres.archive.chain import BaseBackup, Chain
from ikoma.postgres.archive.recovered_server import RecoveredServer, RecoveryPlan
from ikoma.postgres.archive.segments import UNFINISHED, find_hole, list_names, name_segment, read_number
from ikoma.postgres.backup import dump as dumping
from ikoma.postgres.connect import connected
from ikoma.postgres.server import cluster
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import read_bundled_version

log = logging.getLogger("ikoma.postgres")

_FOLDER = "recovered"
_SPARE = 512 << 20
_FOLLOWS_SECONDS = 20.0
# The time is read before the transaction has its number, so its commit is no earlier.
_MARK = "SELECT clock_timestamp(), pg_current_xact_id()"
_SWITCH = "SELECT pg_walfile_name(pg_switch_wal()), current_setting('max_prepared_transactions')::int"


@dataclass(frozen=True, slots=True)
class RecoveredApp:
    """`RecoveredDatabase` on a recovered server."""

    server: RecoveredServer
    app: AppName

    async def count_rows(self, credentials: Credentials, *, timeout: float) -> Mapping[str, int | None]:
        return await provision.count_rows(self.server, credentials, timeout=timeout)

    async def dump(self, target: Path, progress: Progress) -> Dump:
        return await dumping.dump(self.server, self.app, target, progress, summed=True)


class PostgresPointInTime:
    """`PointInTime` on an archive."""

    def __init__(self, server: PostgresServer, archive: Archive, state: Path) -> None:
        """
        Args:
            state: the folder of PostgreSQL's own under IKOMA_STATE.
        """
        self._server = server
        self._archive = archive
        self._state = state

    async def read_window(self) -> RecoveryWindow:
        return await self._archive.read_window()

    @asynccontextmanager
    async def recover(
        self, credentials: Credentials, time: EntryTime, progress: Progress
    ) -> AsyncIterator[RecoveredApp]:
        app = AppName(credentials.database)
        progress(f"find {time} in the archive")
        recovery = await self._choose(time)
        progress(f"recover the state of {time} beside, from {len(recovery.segments)} segments of the log")
        program = await cluster.prepare_program(self._state)
        self._require_room(recovery)
        async with recovered_server.recovered(self._state / _FOLDER, program, recovery) as server:
            if not await provision.is_owned(server, app):
                raise DatabaseMissing(
                    f"{app} had no database at {time}.", hint="Choose a later time. Nothing was changed."
                )
            yield RecoveredApp(server, app)

    # --- what is needed ---

    async def _choose(self, time: EntryTime) -> RecoveryPlan:
        wanted = parse_moment(time)
        async with connected(self._server.make_admin_login()) as connection:
            identity = await read_identity(connection)
            if identity.major != int(read_bundled_version().split(".")[0]):
                raise RecoveryFailed(
                    f"PostgreSQL is of version {identity.major}, and IKOMA brings {read_bundled_version()}."
                )
            row = await (await connection.execute(_MARK)).fetchone()
            assert row is not None
            if row[0] <= wanted:
                now = format_moment(row[0].astimezone(UTC))
                raise await self._make_outside_window(f"{time} is still to come: PostgreSQL's clock says {now}.")
            row = await (await connection.execute(_SWITCH)).fetchone()
            assert row is not None
        known = self._archive.list_chains()
        for chain in reversed(known):
            bases = chain.list_bases()
            before = [base for base in bases if parse_moment(base.finished) <= wanted]
            if before:
                last = None
                if chain is known[-1]:
                    if chain.identity != identity:
                        raise ArchiveBroken("PostgreSQL's timeline is another than the archive's.")
                    last = str(row[0])
                links = await self._find_whole(chain, before, bases)
                segments = await self._list_segments(chain, links[-1], bases, time, last)
                copies = [chain.bases / link.name / "data" for link in links]
                return RecoveryPlan(copies, segments, time, int(row[1]), self._server.make_admin_login()["user"])
        raise await self._make_outside_window(f"{time} is before all that is archived.")

    async def _find_whole(
        self, chain: Chain, before: Sequence[BaseBackup], bases: Sequence[BaseBackup]
    ) -> list[BaseBackup]:
        """The newest base backup that is whole, after all that it builds on: the log leads on from an earlier one too.

        Raises:
            ArchiveBroken: none is; what the newest one lacks.
        """
        broken: list[ArchiveBroken] = []
        for base in reversed(before):
            try:
                links = chain.list_links(base, bases)
                for link in links:
                    await verify(chain, link)
            except ArchiveBroken as error:
                log.error("point in time: %s", error.message)
                broken.append(error)
            else:
                return links
        raise broken[0]

    async def _list_segments(
        self, chain: Chain, base: BaseBackup, bases: Sequence[BaseBackup], time: EntryTime, last: str | None
    ) -> list[Path]:
        """The files from a base backup to a transaction after that moment, or else to the end of the archive.

        Args:
            last: the live server's segment that holds such a transaction, where this is its chain.
        """
        size, wanted = chain.identity.segment, parse_moment(time)
        # A base backup that began later has such a transaction before its start.
        later = next((other for other in bases if parse_moment(other.began) > wanted), None)
        if later is not None:
            end: int | None = chain.locate_start(later)
        else:
            end = await self._follow(chain, last, time)
        there = await asyncio.to_thread(chain.list_segments)
        if end is None:
            end = max((read_number(name, size) for name in there), default=-1)
        names = list_names(chain.identity.timeline, chain.locate_start(base), end, size)
        if (hole := find_hole(names, there)) is not None:
            raise ArchiveBroken(f"The archive has a hole: segment {hole} of the log is missing.")
        unfinished = name_segment(chain.identity.timeline, end, size)
        if (hole := next((name for name in names if not there[name] and name != unfinished), None)) is not None:
            raise ArchiveBroken(f"The archive is damaged: segment {hole} of the log is not whole.")
        return [chain.wal / (name if there[name] else f"{name}{UNFINISHED}") for name in names]

    async def _follow(self, chain: Chain, last: str | None, time: EntryTime) -> int | None:
        """The number of the segment with a transaction after that moment; None where PostgreSQL must look for it."""
        if last is not None:
            try:
                await self._archive.wait_until_archived(chain, last, _FOLLOWS_SECONDS)
            except ArchiveFailed:
                pass
            else:
                return read_number(last, chain.identity.segment)
        written = chain.read_last_write()
        if written is None or written < parse_moment(time):
            raise await self._make_outside_window(f"The archive ends before {time}.")
        return None

    async def _make_outside_window(self, message: str) -> TimeOutsideWindow:
        window = await self._archive.read_window()
        problem = f" The archive has a problem: {window.problem}." if window.problem else ""
        if window.since is None:
            return TimeOutsideWindow(message, hint=f"Nothing can be gone back to yet.{problem} Nothing was changed.")
        hint = f"Give a time from {window.since} to {window.until}.{problem} Nothing was changed."
        return TimeOutsideWindow(message, hint=hint)

    def _require_room(self, recovery: RecoveryPlan) -> None:
        files = (path for copy in recovery.copies for path in copy.rglob("*"))
        base = sum(path.lstat().st_size for path in files if path.is_file())
        needed = base + sum(path.stat().st_size for path in recovery.segments) + _SPARE
        free = recovered_server.find_room(self._state)
        if free < needed:
            raise DiskFull(
                f"To recover beside takes {needed >> 20} MiB, and {free >> 20} MiB are free.",
                hint="Make room on the disk of IKOMA_STATE, then try again. Nothing was changed.",
            )


async def sweep_recovered(state: Path) -> None:
    """End and remove the servers that killed processes have left."""
    await recovered_server.sweep(state / _FOLDER)
