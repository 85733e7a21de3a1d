"""Makes an app's database equal to one of its backups again, by the psql that belongs to the server.

The backup's own text does the work: one transaction that drops what the app has made and brings back, as the app's
role, what the file holds. So a failure, a cancelled call or a crash changes nothing. What is checked here first is that
the file is whole and of this app: it is given to psql with the admin's rights.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections import deque
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from ikoma.errors import (
    BackupDamaged,
    BackupForeign,
    BackupMissing,
    DatabaseMissing,
    DatabasesUnavailable,
    DiskFull,
    IkomaError,
    RestoreFailed,
)
from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from ikoma.ports.progress import Progress
from ikoma.postgres import blockers, provision
from ikoma.postgres.backup.text.reading import DumpText, find_text
from ikoma.postgres.connect import connected, find_outage
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import follow

_SECONDS = 24 * 3600.0
_PAUSE = 0.5
_MOST_LINES, _LINE_LENGTH = 20, 500
_CONNECTION_LOST = 2
HEAD = re.compile(rb"-- IKOMA \S+: the database (\S+) of PostgreSQL (\d+), ")
_ERROR = re.compile(r"(?:psql:.*?: |pg_restore: )?(?:ERROR|FATAL|PANIC|error): +")
END = b"COMMIT;\n\\endif\n"


async def restore(
    server: PostgresServer,
    credentials: Credentials,
    path: Path,
    progress: Progress,
    *,
    sha256: str | None = None,
    into: Credentials | None = None,
) -> None:
    """Restore a plain backup over the database it was made of, or into one that stands in for it.

    Sessions of the app stay, and wait meanwhile; one that keeps a lock for three seconds is ended.

    Raises:
        BackupMissing, BackupForeign: there is no such file, or it is of another database.
        BackupDamaged: its SHA-256 is another than was promised, or it has no end.
        RestoreFailed: a statement failed; the database is as it was.
    """
    with _open_backup(path) as file:
        progress(f"restore {path.name}: verify", 0.0)
        text = find_text(file, path.name)
        major = await _read_major(server)
        await asyncio.to_thread(_check, text, path, credentials.database, sha256, major)
        if into is None and not await provision.is_owned(server, AppName(credentials.database)):
            raise DatabaseMissing(f"There is no database {credentials.database!r} to restore over.")
        program = await find_tool("psql", major)
        await _run(server, into or credentials, [str(program), "--no-psqlrc", "--quiet"], text, progress)


# --- the file ----------------------------------------------------------------------------------------------


def _open_backup(path: Path) -> BufferedReader:
    if not path.is_file():
        raise BackupMissing(f"There is no backup {path.name}.")
    return path.open("rb")


def _check(text: DumpText, path: Path, database: str, sha256: str | None, major: int) -> None:
    """Refuse what is no backup of this database, what a later PostgreSQL wrote, and what is not as it was written."""
    first, last = text.read_edges(len(END))
    head = HEAD.match(first)
    if head is None:
        raise BackupForeign(f"{path.name} is not a backup that IKOMA made.")
    if head[1].decode(errors="replace") != database:
        raise BackupForeign(f"{path.name} is a backup of {head[1].decode(errors='replace')}, not of {database}.")
    if int(head[2]) > major:
        raise BackupForeign(
            f"{path.name} is of PostgreSQL {int(head[2])}, which is newer than this server's {major}.",
            hint=f"Restore it on a server with PostgreSQL {int(head[2])}; nothing was changed.",
        )
    if last != END:
        raise BackupDamaged(f"{path.name} has no end: it was cut off.")
    if sha256 is not None and text.hash() != sha256:
        raise BackupDamaged(f"{path.name} is not what its manifest says: its checksum is another.")


# --- psql --------------------------------------------------------------------------------------------------


async def _read_major(server: PostgresServer) -> int:
    async with connected(server.make_admin_login()) as connection:
        return connection.info.server_version // 10_000


async def _run(
    server: PostgresServer, credentials: Credentials, argv: list[str], text: DumpText, progress: Progress
) -> None:
    session = f"ikoma restore {secrets.token_hex(6)}"
    said = PsqlOutput()
    parameters = server.make_admin_login(credentials.database)
    password = parameters.pop("password")
    # Where psql is killed, the server should not go on for as long as its last statement takes.
    parameters["options"] += " -c client_connection_check_interval=1s"
    where = f"--dbname={make_conninfo(**parameters, application_name=session)}"
    watching = asyncio.ensure_future(_watch(server, credentials, session, text.file.fileno(), progress))
    try:
        async with text.feed() as descriptor:
            code = await follow(
                [*argv, "--no-password", where],
                on_line=said.hear,
                env={"PGPASSWORD": password},
                stdin=descriptor,
                timeout=_SECONDS,
            )
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    if code != 0:
        raise _make_failure(code, said)


class PsqlOutput:
    """psql's output: the first error with what follows it, such as the whole statement, or else the last lines."""

    def __init__(self) -> None:
        self.error: str | None = None
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    @property
    def lines(self) -> list[str]:
        return list(self._lines)

    def hear(self, line: str) -> None:
        if self.error is None and (found := _ERROR.match(line)):
            self.error = line[found.end() :][:_LINE_LENGTH]
            self._lines.clear()
        if self.error is None or len(self._lines) < _MOST_LINES:
            self._lines.append(line[:_LINE_LENGTH])


async def _watch(
    server: PostgresServer, credentials: Credentials, session: str, descriptor: int, progress: Progress
) -> None:
    """Tell how far the file was read, by its offset, and clear the way of psql where it stands still."""
    size = max(os.fstat(descriptor).st_size, 1)
    seen = -1
    while True:
        await asyncio.sleep(_PAUSE)
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        if place != seen:
            progress(f"restore: {place >> 20} of {size >> 20} MiB", min(place / size, 0.99))
            seen = place
            continue
        with suppress(DatabasesUnavailable, psycopg.Error):  # then psql has an error of its own to tell
            async with connected(server.make_admin_login()) as connection:
                # What a session of the app has not committed yet is not in the backup either.
                await blockers.end(connection, session, credentials.role)


def _make_failure(code: int, said: PsqlOutput) -> IkomaError:
    """psql's own words. They may quote rows, so the audit log gets none of them."""
    reason = said.error or f"psql ended with code {code}"
    outage = find_outage([reason, *said.lines]) if code == _CONNECTION_LOST else find_outage([reason])
    if isinstance(outage, DiskFull):
        return outage
    if code == _CONNECTION_LOST:
        hint = None if outage is None else outage.hint
        return DatabasesUnavailable("PostgreSQL went away during the restore.", hint=hint, said=said.lines)
    return RestoreFailed(
        f"The restore failed, and the database is as it was: {reason}.",
        audit_message="The restore failed, and the database is as it was.",
        hint=next((hint for words, hint in _HINTS.items() if words in reason), None),
        said=said.lines,
    )


_HINTS = {
    "lock timeout": "A session that is not the app's holds a lock: end it, or wait for it, and try again.",
    "out of shared memory": "PostgreSQL has too few locks for so many tables: raise its max_locks_per_transaction,"
    " restart it and try again.",
}
