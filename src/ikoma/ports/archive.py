"""The Protocol of the archive of the whole PostgreSQL server, by which one app's database goes back to a second."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ikoma.moments import EntryTime
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress


@dataclass(frozen=True, slots=True)
class RecoveryWindow:
    """From when to when one can go back. Moments are RFC 3339 in UTC; None before there is a base backup."""

    since: str | None
    until: str | None
    lag_seconds: float | None
    """How long ago `until` is."""
    lag_bytes: int | None
    """Bytes of the log that are not archived yet; None where nobody archives."""
    problem: str | None
    """Problem, in a sentence without its full stop."""


class RecoveredDatabase(Protocol):
    """One app's database as it was, on a server of its own that nobody else reaches."""

    async def count_rows(self, credentials: Credentials, *, timeout: float) -> Mapping[str, int | None]:
        """Rows of each table then; None for a table that could not be counted within the time."""

    async def dump(self, target: Path, progress: Progress) -> Dump:
        """Write plain SQL, as `Databases.dump` does."""


class PointInTime(Protocol):
    """The archive."""

    async def read_window(self) -> RecoveryWindow: ...

    def recover(
        self, credentials: Credentials, time: EntryTime, progress: Progress
    ) -> AbstractAsyncContextManager[RecoveredDatabase]:
        """The app's database as it was at that moment, for the block. The live server is not touched.

        Raises:
            TimeOutsideWindow: the archive does not reach that moment.
            ArchiveBroken: a part of it is missing.
            RecoveryFailed: PostgreSQL does not recover from it.
            DatabaseMissing: the app had no database then.
            DiskFull: it could fill the disk.
        """
