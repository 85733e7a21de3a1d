"""A dump that plain `psql` restores over the existing database, so that it equals the dump afterwards.

The file itself sees to that: it stops at the first error, runs in one transaction, and first drops everything the
app has made, whatever it is. A file that was cut off fails as well: its `\\if` is never closed. Rows are counted as
they go into the file, so the counts are of the very snapshot that it holds. What it brings back, it brings back as the
app's role: an app must get no more rights from a restore than it had.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from ikoma import __version__
from ikoma.durable import open_whole_file
from ikoma.errors import AppBusy, BackupExists, BackupFailed, DiskFull, IkomaError
from ikoma.model import AppName, quote_name
from ikoma.moments import format_moment
from ikoma.ports.databases import Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup.plain_dump import PlainDump, UnexpectedDump
from ikoma.postgres.backup.row_counts import DatabaseSnapshot, hold_snapshot
from ikoma.postgres.backup.surroundings import Surroundings, read_surroundings
from ikoma.postgres.backup.text.writing import open_dump_file
from ikoma.postgres.blockers import watched
from ikoma.postgres.connect import Connection, connected, find_outage
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import ProcessResult, fill

log = logging.getLogger("ikoma.postgres")

_SECONDS = 24 * 3600.0
_WITHOUT_OWNERS = ("--no-owner", "--no-privileges")

_FACTS = """
SELECT pg_database_size(current_database()), current_setting('server_version_num'), ARRAY(
    SELECT extname::text FROM pg_extension AS e WHERE extname <> 'plpgsql' AND NOT EXISTS (
        SELECT FROM pg_available_extension_versions AS v
        WHERE v.name = e.extname AND v.version = e.extversion AND (v.trusted OR NOT v.superuser)
    )
)
"""
# A restore drops and makes all of it in one transaction, which locks each thing about twice.
_LOCKS = """
SELECT ((SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_type WHERE oid >= 16384)
     + (SELECT count(*) FROM pg_constraint WHERE oid >= 16384) + (SELECT count(*) FROM pg_attrdef)) * 9 / 4
     + (SELECT count(*) FROM pg_largeobject_metadata),
       current_setting('max_locks_per_transaction')::bigint * current_setting('max_connections')::bigint
"""


async def dump(
    server: PostgresServer,
    app: AppName,
    target: Path,
    progress: Progress,
    *,
    restore_as: AppName | None = None,
    terminate_blockers: bool = False,
    summed: bool = False,
    place: str | None = None,
    before: Callable[[Dump], Awaitable[None]] | None = None,
) -> Dump:
    """Dump an app's database to a new file, whole or not at all.

    Args:
        restore_as: the app whose database is to equal it, where that is another: all in it becomes that one's.
        terminate_blockers: end sessions of the app that keep a table locked.
        summed: read every table once more in the dump's snapshot, for its checksum.
        place: the database that is dumped, where it is one that stands in for the app's.
        before: is given the dump before it is at `target`, under a path that holds meanwhile.

    Raises:
        AppBusy: a session keeps a table locked.
        BackupExists: there is a file at `target`.
        BackupFailed: pg_dump failed; there is no file then.
    """
    _refuse_existing(target)
    database = place or app.database
    async with connected(server.make_admin_login(database)) as connection:
        estimate, version, theirs = await _read_facts(connection)
        surroundings = await read_surroundings(connection, app)
        await _tell_if_too_large(connection, app, progress)
    program = await find_tool("pg_dump", version)
    try:
        owner = restore_as or app
        content = PlainDump(owner.role, theirs)
        header = _make_header(owner, version, content.mark, surroundings)
        with (
            open_whole_file(target, mode=0o600, replace=False) as stream,
            open_dump_file(stream, target, header, content, progress, estimate) as writing,
        ):
            options: tuple[str, ...] = () if restore_as is None else _WITHOUT_OWNERS
            parameters = {**server.make_admin_login(database), "application_name": f"ikoma dump {secrets.token_hex(6)}"}
            async with _take_snapshot(server, database, app) if summed else nullcontext() as snapshot:
                options += () if snapshot is None else (f"--snapshot={snapshot.name}",)
                async with watched(
                    server, parameters["application_name"], app.role, terminate_blockers=terminate_blockers
                ) as blockers:
                    finished = await _run_pg_dump(program, options, parameters, writing.output, writing.follow)
                if finished.code != 0:
                    raise explain_locked(blockers) if blockers else explain_failure(finished)
                writing.finish()
                if snapshot is not None:
                    progress("dump: checksums")
                    writing.add_checksums(await snapshot.read_all(), snapshot.postgres)
            if before is not None:
                stream.flush()
                await before(writing.describe(Path(f"/proc/self/fd/{stream.fileno()}")))
    except UnexpectedDump as error:
        raise BackupFailed("pg_dump wrote what IKOMA cannot make safe to restore.") from error
    except FileExistsError:
        raise _make_exists(target) from None
    return writing.describe(target)


@asynccontextmanager
async def _take_snapshot(server: PostgresServer, database: str, app: AppName) -> AsyncIterator[DatabaseSnapshot]:
    async with connected(server.make_admin_login(database)) as connection, hold_snapshot(connection, app) as snapshot:
        yield snapshot


async def _read_facts(connection: Connection) -> tuple[int, int, list[str]]:
    """The database's size in bytes, the server's major version, and the extensions that only a superuser can create."""
    cursor = await connection.execute(_FACTS)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1]) // 10_000, list(row[2])


async def _tell_if_too_large(connection: Connection, app: AppName, progress: Progress) -> None:
    """Say now what the restore would fail of."""
    needed, room = (await (await connection.execute(_LOCKS)).fetchall())[0]
    if needed > room:
        said = f"to restore {app.database} takes about {needed} locks, and PostgreSQL is made for {room}"
        log.warning("%s: raise its max_locks_per_transaction", said)
        progress(f"{said}: raise its max_locks_per_transaction", 0.0)


async def _run_pg_dump(
    program: Path,
    options: Sequence[str],
    parameters: dict[str, Any],
    output: int,
    alongside: Callable[[threading.Event], None],
) -> ProcessResult:
    password = parameters.pop("password")
    argv = [
        str(program),
        *("--format=plain", "--no-password", "--encoding=UTF8"),
        *options,
        f"--dbname={make_conninfo(**parameters)}",
    ]
    return await fill(argv, output=output, alongside=alongside, env={"PGPASSWORD": password}, timeout=_SECONDS)


def _make_header(app: AppName, version: int, mark: bytes, surroundings: Surroundings) -> bytes:
    # A schema of the app's cannot have this name.
    schema = f"ikoma_restore_{secrets.token_hex(6)}"
    names = {"{role}": f'"{app.role}"', "{schema}": schema}
    clearing, running = (_query(name, names) for name in ("clear_database.sql", "restore_as_app.sql"))
    now = format_moment(datetime.now(UTC))
    return (
        f"-- IKOMA {__version__}: the database {app.database} of PostgreSQL {version}, {now}.\n"
        f"-- Restores over the existing database: psql -U ikoma -d {app.database} < THIS FILE\n"
        "-- One transaction that stops at the first error: the database equals this file afterwards, or is as before.\n"
        "\\set ON_ERROR_STOP on\n"
        "\\set QUIET on\n"
        "\\if true\n"
        # Nothing that the app has put into its own schemas may stand in for what is called here.
        "SET search_path = pg_catalog, pg_temp;\n"
        "SET client_min_messages = warning;\n"
        "SET client_encoding = 'UTF8';\n"
        "SET standard_conforming_strings = on;\n"
        f"BEGIN;\n{clearing}{running}"
        f"{_list_kept(schema, surroundings)}"
        f"\\set schema {schema}\n"
        f"\\set run 'CALL {schema}.run('\n"
        f"\\set to 'SELECT {schema}.target('\n"
        f":run{mark.decode()}\n"
    ).encode()


def _list_kept(schema: str, surroundings: Surroundings) -> str:
    lines = [f"INSERT INTO {schema}.path VALUES ({_write_literal(surroundings.search_path)});\n"]  # noqa: S608 - literals
    for name, value in surroundings.settings.items():
        lines.append(f"INSERT INTO {schema}.setting VALUES ({_write_literal(name)}, {_write_literal(value)});\n")  # noqa: S608
    return "".join(lines)


def _write_literal(text: str) -> str:
    """The text as SQL spells it where standard_conforming_strings is on."""
    return "'" + text.replace("'", "''") + "'"


def _query(name: str, names: dict[str, str]) -> str:
    text = (files("ikoma.postgres") / "queries" / name).read_text()
    for placeholder, value in names.items():
        text = text.replace(placeholder, value)
    return text


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise _make_exists(target)


def _make_exists(target: Path) -> BackupExists:
    return BackupExists(f"A backup named {target.name} exists already.")


def explain_locked(blockers: Sequence[str]) -> AppBusy:
    """Say who keeps a table locked."""
    return AppBusy(
        f"A table stays locked, so there is no backup: {', '.join(map(quote_name, blockers))}.",
        hint="Wait until the transaction there has ended; a person at the server can end it with `ikoma psql --admin` "
        "(pg_terminate_backend).",
    )


def explain_failure(finished: ProcessResult) -> IkomaError:
    """Say why pg_dump failed, in its own words."""
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    if (outage := find_outage(lines)) is not None:
        return DiskFull() if isinstance(outage, DiskFull) else outage  # it is the backup's own disk, more likely
    errors = [line for line in lines if line.startswith("pg_dump: error: ")]  # a detail may follow: the query
    said = (errors or lines)[-1].removeprefix("pg_dump: ") if lines else f"exit code {finished.code}."
    return BackupFailed(f"pg_dump failed: {said}", audit_message="pg_dump failed.")
