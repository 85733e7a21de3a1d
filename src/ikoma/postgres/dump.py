"""A dump that plain `psql` restores over the existing database, so that it equals the dump afterwards.

The file itself sees to that: it stops at the first error, runs in one transaction, and first drops everything the
app has made, whatever it is. Rows are counted in the very snapshot that pg_dump writes.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ikoma import __version__
from ikoma.durable import whole_file
from ikoma.errors import BackupExists, BackupFailed
from ikoma.model import AppName
from ikoma.ports import Dump, Progress
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server import PostgresServer
from ikoma.postgres.tools import tool
from ikoma.run import Finished, pour

_SECONDS = 24 * 3600.0
_EVERY = 32 << 20

_SNAPSHOT = "SELECT pg_export_snapshot(), pg_database_size(current_database()), current_setting('server_version_num')"
_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ikoma') AND n.nspname !~ '^pg_'
ORDER BY 1, 2
"""


async def dump(server: PostgresServer, app: AppName, target: Path, progress: Progress) -> Dump:
    """Dump an app's database to a new file, whole or not at all.

    Raises:
        BackupExists: there is a file at `target`.
        BackupFailed: pg_dump failed; there is no file then.
    """
    async with connected(server.admin(app.database)) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor = await connection.execute(_SNAPSHOT)
        row = await cursor.fetchone()
        assert row is not None
        snapshot, estimate, version = str(row[0]), int(row[1]), int(row[2]) // 10_000
        program = await tool("pg_dump", version)
        try:
            with whole_file(target, mode=0o600, replace=False) as stream:
                written = _Written(stream, progress, estimate)
                written(_header(app, version))
                finished, tables = await asyncio.gather(
                    _pg_dump(program, server.admin(app.database), snapshot, written), _count(connection)
                )
                if finished.code != 0:
                    raise BackupFailed(f"pg_dump failed: {_last_line(finished)}")
                written(b"\nCOMMIT;\n")
        except FileExistsError:
            raise BackupExists(f"A backup named {target.name} exists already.") from None
        except psycopg.OperationalError as error:
            raise BackupFailed("PostgreSQL went away during the backup.") from error
    return Dump(target, written.size, written.digest.hexdigest(), tables)


class _Written:
    """Takes the dump piece by piece: writes, counts, hashes, reports."""

    def __init__(self, stream: BinaryIO, progress: Progress, estimate: int) -> None:
        self._stream = stream
        self._progress = progress
        self._estimate = max(estimate, 1)
        self._reported = 0
        self.size = 0
        self.digest = hashlib.sha256()

    def __call__(self, piece: bytes) -> None:
        self._stream.write(piece)
        self.digest.update(piece)
        self.size += len(piece)
        if self.size - self._reported >= _EVERY:
            self._reported = self.size
            self._progress(f"dump: {self.size >> 20} MiB", min(self.size / self._estimate, 0.99))


async def _pg_dump(program: Path, parameters: dict[str, Any], snapshot: str, into: _Written) -> Finished:
    password = parameters.pop("password")
    argv = [
        str(program),
        *("--format=plain", "--no-password", "--encoding=UTF8", f"--snapshot={snapshot}"),
        f"--dbname={make_conninfo(**parameters)}",
    ]
    return await pour(argv, into=into, env={"PGPASSWORD": password}, timeout=_SECONDS)


async def _count(connection: Connection) -> dict[str, int]:
    cursor = await connection.execute(_TABLES)
    tables = {}
    for schema, name in await cursor.fetchall():
        counted = await connection.execute(
            sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(str(schema), str(name)))
        )
        row = await counted.fetchone()
        assert row is not None
        tables[str(name) if schema == "public" else f"{schema}.{name}"] = int(row[0])
    return tables


def _header(app: AppName, version: int) -> bytes:
    clearing = (files("ikoma.postgres") / "queries" / "clear_database.sql").read_text()
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"-- IKOMA {__version__}: the database {app.database} of PostgreSQL {version}, {now}.\n"
        f"-- Restores over the existing database: psql -U ikoma -d {app.database} < THIS FILE\n"
        "-- One transaction that stops at the first error: the database equals this file afterwards, or is as before.\n"
        "\\set ON_ERROR_STOP on\n"
        "\\set QUIET on\n"
        "SET client_min_messages = warning;\n"
        f"BEGIN;\n{clearing}\n"
    ).encode()


def _last_line(finished: Finished) -> str:
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("pg_dump: ") if lines else f"exit code {finished.code}."
