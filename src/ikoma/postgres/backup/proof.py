"""Proves a backup: it is restored at once, into a database that stands in for the app's own and goes again.

Only the whole file with its rows proves anything: a check, an index or a materialised view fails of rows, not of its
text. What is restored is counted and summed, and compared with what was dumped.
"""

from __future__ import annotations

import time

from ikoma.errors import BackupUnproven, RestoreFailed
from ikoma.model import AppName, quote_name
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup import restore
from ikoma.postgres.backup.folder import restore_folder
from ikoma.postgres.backup.row_counts import LARGE_OBJECTS, DatabaseSnapshot, DatabaseTable, hold_snapshot
from ikoma.postgres.connect import connected
from ikoma.postgres.server.server import PostgresServer

_RECOMPUTED = (
    "A generated column whose function was changed since has other values once it is restored: write the table's rows "
    "again (UPDATE with any column set to itself), and back up again."
)


async def prove(
    server: PostgresServer, credentials: Credentials, dump: Dump, place: Credentials, what: str, progress: Progress
) -> float:
    """Restore a dump of the app's database into the one that stands in for it; how many seconds that took.

    Args:
        what: how the sentence begins that says why it fails.

    Raises:
        BackupUnproven: it cannot be restored, or a table is not there or has other rows then.
    """
    began = time.monotonic()
    try:
        if dump.path.is_dir():
            changes_owner = credentials.role != place.role
            await restore_folder(server, dump.path, place, progress, changes_owner=changes_owner)
        else:
            sha256 = dump.sha256 if dump.is_kept else None
            await restore.restore(server, credentials, dump.path, progress, sha256=sha256, into=place)
    except RestoreFailed as error:
        reason = error.message.partition(": ")[2]
        raise BackupUnproven(
            f"{what}: {reason}", audit_message=f"{what}.", hint=_find_hint(error), **error.details
        ) from error
    taken = time.monotonic() - began
    await compare(server, place, dump, what)
    return taken


def _find_hint(error: RestoreFailed) -> str | None:
    return None if error.hint == error.default_hint else error.hint


async def compare(server: PostgresServer, place: Credentials, dump: Dump, what: str) -> None:
    """Compare what was restored with what a dump's manifest tells of it; raises BackupUnproven."""
    async with (
        connected(server.make_admin_login(place.database)) as connection,
        hold_snapshot(connection, AppName(place.role)) as snapshot,
    ):
        # The hash may be another in another major version.
        same = snapshot.postgres.partition(".")[0] == dump.postgres.partition(".")[0]
        sums = dump.checksums if same else {}
        there = {table.shown: table for table in snapshot.tables}
        for name, rows in dump.tables.items():
            if name not in there:
                raise BackupUnproven(f"{what}: {quote_name(name)} is not there then.")
            await _compare_table(snapshot, there[name], rows, sums.get(name), what)
        if sums and await snapshot.read_large_objects() != sums.get(LARGE_OBJECTS):
            raise BackupUnproven(f"{what}: its large objects are others then.")


async def _compare_table(
    snapshot: DatabaseSnapshot, table: DatabaseTable, rows: int, checksum: str | None, what: str
) -> None:
    found = await snapshot.read(table, summed=checksum is not None)
    if found is None:
        if checksum is None:  # as before: its owner may not read it
            return
        raise BackupUnproven(f"{what}: {quote_name(table.shown)} cannot be read then.")
    if found.rows != rows:
        raise BackupUnproven(f"{what}: {quote_name(table.shown)} has {found.rows} rows then, of {rows}.")
    if found.checksum != checksum:
        raise BackupUnproven(f"{what}: rows of {quote_name(table.shown)} are others then.", hint=_RECOMPUTED)
