"""Dumps in PostgreSQL's directory format, which several workers write and restore at a time.

All is of one snapshot, which the checksums are read in too. Rows are counted in the files, as they are hashed. It is
restored by the app's own role into an empty database, all or nothing: what takes an admin's rights, or the app's own
search path, is refused there, and such a database is dumped as one text.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from psycopg.conninfo import make_conninfo

from ikoma.errors import BackupDamaged, BackupFailed, RestoreFailed
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup.dump import explain_failure, explain_locked
from ikoma.postgres.backup.restore import PsqlOutput
from ikoma.postgres.backup.row_counts import hold_snapshot
from ikoma.postgres.blockers import watched
from ikoma.postgres.connect import connected, find_outage
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import ProcessResult, follow, run

_SECONDS = 24 * 3600.0
_PAUSE = 0.5
_MOST_WORKERS = 4
_PIECE = 1 << 20
_MOST_LINES = 20
_SIZE = "SELECT pg_database_size(current_database())"
_ROWS = re.compile(rb"^(\d+); 0 (\d+) TABLE DATA ", re.MULTILINE)
_NOT_THE_APPS = re.compile(rb"^\d+; \d+ \d+ ACL pg_catalog .*\n", re.MULTILINE)
"""IKOMA has taken functions from the apps of every database, and the app's role need not and may not."""
_END = b"\\.\n\n\n"
_FINISHED = re.compile(r"pg_restore: finished item (\d+) TABLE DATA ")
_TROUBLE = ("pg_restore: error: ", "pg_restore: warning: ", "pg_restore: detail: ", "pg_restore: hint: ")


async def dump_folder(server: PostgresServer, app: AppName, target: Path, progress: Progress) -> Dump:
    """Dump an app's database into a new folder, with checksums.

    A failure, or a kill, leaves a part of it: the caller removes it.

    Raises:
        AppBusy: a session keeps a table locked.
        BackupFailed: pg_dump failed.
    """
    login = server.make_admin_login(app.database)
    session = f"ikoma dump {secrets.token_hex(6)}"
    async with connected(login) as connection, hold_snapshot(connection, app) as snapshot:
        major = connection.info.server_version // 10_000
        estimate = (await (await connection.execute(_SIZE)).fetchall())[0][0]
        argv = [
            str(await find_tool("pg_dump", major)),
            *(
                "--format=directory",
                f"--jobs={_count_workers()}",
                "--compress=none",
                "--encoding=UTF8",
                "--no-password",
            ),
            *(f"--snapshot={snapshot.name}", f"--file={target}"),
        ]
        began = time.monotonic()
        async with watched(server, session, app.role, terminate_blockers=False) as blockers:
            telling = asyncio.ensure_future(_tell(progress, target, estimate))
            try:
                finished = await _run(argv, {**login, "application_name": session})
            finally:
                telling.cancel()
        if finished.code != 0:
            raise explain_locked(blockers) if blockers else explain_failure(finished)
        seconds = time.monotonic() - began
        progress("dump: checksums")
        counted = await asyncio.to_thread(_examine_folder, target, await _list(target, major))
        sums = await snapshot.read_all()
        tables = {item.shown: counted.rows[item.oid] for item in snapshot.tables if item.oid in counted.rows}
    return Dump(
        target, counted.size, counted.sha256, tables, checksums=sums, postgres=snapshot.postgres, seconds=seconds
    )


async def restore_folder(
    server: PostgresServer, path: Path, place: Credentials, progress: Progress, *, changes_owner: bool
) -> None:
    """Restore a folder into an empty database, as the role that enters it; the caller drops it where that fails.

    Args:
        changes_owner: whether the role is another than the one that was dumped: all becomes its own.

    Raises:
        BackupDamaged: its table of contents cannot be read.
        RestoreFailed: a statement failed.
        DatabasesUnavailable, DiskFull: PostgreSQL went away, or has no room for it.
    """
    async with connected(server.make_admin_login()) as connection:
        major = connection.info.server_version // 10_000
    program = await find_tool("pg_restore", major)
    listed = await _list(path, major)
    with NamedTemporaryFile(prefix="ikoma-contents-") as wanted:
        wanted.write(_NOT_THE_APPS.sub(b"", listed))
        wanted.flush()
        argv = [
            *(str(program), "--format=directory", f"--jobs={_count_workers()}", "--exit-on-error", "--no-password"),
            *(("--no-owner", "--no-privileges") if changes_owner else ()),
            *("--verbose", f"--use-list={wanted.name}"),
        ]
        heard = _RestoreOutput(path, progress)
        code = await _follow(argv, server.make_app_login(place), str(path), on_line=heard.hear)
    if code != 0:
        if (outage := find_outage([heard.error or "", *heard.lines])) is not None:
            raise outage
        reason = heard.error or next(reversed(heard.lines), f"exit code {code}")
        raise RestoreFailed(
            f"The restore failed: {reason}.", audit_message="The restore failed.", said=heard.lines[:_MOST_LINES]
        )


class _RestoreOutput(PsqlOutput):
    """pg_restore's output: what failed, and how many bytes of the tables are there, as each table is finished."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        super().__init__()
        self._sizes = {item.name: item.stat().st_size for item in folder.glob("*.dat")}
        self._all = max(sum(self._sizes.values()), 1)
        self._done = 0
        self._progress = progress

    def hear(self, line: str) -> None:
        if (found := _FINISHED.match(line)) is not None:
            self._done += self._sizes.get(f"{found[1]}.dat", 0)
            said = f"restore: {self._done >> 20} of {self._all >> 20} MiB"
            self._progress(said, min(self._done / self._all, 0.99))
        elif not line.startswith("pg_restore: ") or line.startswith(_TROUBLE):
            super().hear(line)  # all else it says only because it was asked to say what it does


def _count_workers() -> int:
    """Count the workers that this machine has processors for, four at most."""
    return min(os.cpu_count() or 1, _MOST_WORKERS)


async def _run(argv: Sequence[str], login: Mapping[str, Any], *last: str) -> ProcessResult:
    parameters = {**login}
    password = parameters.pop("password")
    return await run(
        [*argv, f"--dbname={make_conninfo(**parameters)}", *last], env={"PGPASSWORD": password}, timeout=_SECONDS
    )


async def _follow(argv: Sequence[str], login: Mapping[str, Any], *last: str, on_line: Callable[[str], None]) -> int:
    parameters = {**login}
    env = {"PGPASSWORD": parameters.pop("password")}
    argv = [*argv, f"--dbname={make_conninfo(**parameters)}", *last]
    return await follow(argv, on_line=on_line, env=env, timeout=_SECONDS)


async def _list(path: Path, major: int) -> bytes:
    """The table of contents of a folder."""
    finished = await run([str(await find_tool("pg_restore", major)), "--list", str(path)], timeout=_SECONDS)
    if finished.code != 0:
        raise BackupDamaged(f"{path.name} is no dump in PostgreSQL's directory format, or not a whole one.")
    return finished.stdout


async def _tell(progress: Progress, folder: Path, estimate: int) -> None:
    """Tell how many bytes there are, again and again."""
    while True:
        await asyncio.sleep(_PAUSE)
        size = _measure(folder)
        progress(f"dump: {size >> 20} MiB", min(size / max(estimate, 1), 0.99))


def _measure(folder: Path) -> int:
    return sum(item.stat().st_size for item in folder.glob("*"))


@dataclass(frozen=True, slots=True)
class _Survey:
    """The bytes of all files, the SHA-256 of their names and contents, and rows by the OID of their table."""

    size: int
    sha256: str
    rows: Mapping[int, int]


def _examine_folder(folder: Path, listed: bytes) -> _Survey:
    tables = {f"{number.decode()}.dat": int(oid) for number, oid in _ROWS.findall(listed)}
    size, digest, rows = 0, hashlib.sha256(), {}
    for path in sorted(folder.iterdir()):
        own, lines, tail = hashlib.sha256(), 0, b""
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                own.update(piece)
                lines += piece.count(b"\n")
                tail = (tail + piece)[-len(_END) :]
                size += len(piece)
        digest.update(f"{path.name} {own.hexdigest()}\n".encode())
        if path.name in tables:
            if tail != _END:
                raise BackupFailed(f"pg_dump did not write {path.name} to its end.")
            rows[tables[path.name]] = lines - _END.count(b"\n")
    return _Survey(size, digest.hexdigest(), rows)
