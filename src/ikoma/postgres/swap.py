"""Lets another database take the place of an app's, while the app waits for a moment; the former one stays as a copy.

One transaction gives all their names, so a failure or a kill leaves the one state or the other, and what is known of
the copy is its comment, which comes with its name. Whoever connects meanwhile waits; a session in the app's database
has half a second to end its transaction, and is ended then: pools connect again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import orjson
import psycopg
from psycopg import sql

from ikoma.errors import AppBusy, DatabaseMissing, UndoMissing
from ikoma.model import AppName
from ikoma.moments import parse_moment
from ikoma.ports.databases import UndoCopy
from ikoma.postgres import provision
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server.server import PostgresServer

_MARK = "IKOMA undo "
_GRACE_SECONDS = 0.5
_PAUSE = 0.02

_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
_ALL = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE starts_with(datname, %s)"
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND (%s OR state = 'idle')
"""
_SETTINGS = """
INSERT INTO pg_db_role_setting (setdatabase, setrole, setconfig)
SELECT place.oid, s.setrole, s.setconfig FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
CROSS JOIN pg_database AS place WHERE d.datname = %s AND place.datname = %s
"""
_LIMIT = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
_GRANTS = """
SELECT pg_get_userbyid(a.grantee), a.privilege_type, a.is_grantable
FROM pg_database AS d CROSS JOIN aclexplode(d.datacl) AS a
WHERE d.datname = %s AND a.grantee NOT IN (0, d.datdba)
"""


async def swap_in(server: PostgresServer, app: AppName, place: str, note: UndoCopy) -> float:
    """Let the database of that name take the place of the app's; for how many seconds the app waited.

    An earlier copy has the name `place` afterwards: whoever made that drops it.

    Raises:
        AppBusy: a session in the app's database does not end; nothing was changed.
        DatabaseMissing: the app has none.
    """
    undo = provision.name_undo(app)
    async with _in_turn(server, app) as connection:
        await _copy_rights(connection, app.database, place)
        had_copy = await _find_comment(connection, undo) is not None
        began = time.monotonic()
        async with _renaming(server, connection, app):
            await _rename(connection, place, app.database)
            if had_copy:
                await _rename(connection, undo, place)
            await _keep(connection, app, note)
    return time.monotonic() - began


async def swap_back(server: PostgresServer, app: AppName, note: UndoCopy) -> float:
    """Let the copy be the app's database again, and what was be the copy; for how many seconds the app waited.

    Raises:
        UndoMissing: there is no copy.
        AppBusy: a session in the app's database does not end; nothing was changed.
    """
    undo = provision.name_undo(app)
    async with _in_turn(server, app) as connection:
        if await _find_comment(connection, undo) is None:
            raise UndoMissing(f"There is no copy of the database of {app} from before a restore.")
        began = time.monotonic()
        async with _renaming(server, connection, app):
            await _rename(connection, undo, app.database)
            name = sql.Identifier(app.database)
            await connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
            await provision.mark_database(connection, app, name)
            await _keep(connection, app, note)
    return time.monotonic() - began


async def find_undo(server: PostgresServer, app: AppName) -> UndoCopy | None:
    """Find the copy of the app's database from before it was restored."""
    async with connected(server.make_admin_login()) as connection:
        return _parse(await _find_comment(connection, provision.name_undo(app)))


async def drop_expired(server: PostgresServer) -> list[str]:
    """Drop the copies that were kept long enough; names of their apps."""
    gone = []
    async with connected(server.make_admin_login()) as connection:
        for name, comment in await (await connection.execute(_ALL, (provision.UNDO,))).fetchall():
            note = _parse(comment)
            if note is not None and parse_moment(note.until) < datetime.now(UTC):
                await provision.drop_database(connection, name)
                gone.append(note.app)
    return gone


@asynccontextmanager
async def _in_turn(server: PostgresServer, app: AppName) -> AsyncIterator[Connection]:
    async with connected(server.make_admin_login()) as connection:
        await provision.take_turns(connection, app)
        try:
            yield connection
        except psycopg.errors.ObjectInUse as error:
            raise AppBusy(
                f"A session in the database of {app} does not end, so nothing was changed.",
                hint="Try again; a person at the server can end it with `ikoma psql --admin` (pg_terminate_backend).",
            ) from error
        except psycopg.errors.InvalidCatalogName as error:
            raise DatabaseMissing(f"There is no database {app.database!r} to restore over.") from error


@asynccontextmanager
async def _renaming(server: PostgresServer, connection: Connection, app: AppName) -> AsyncIterator[None]:
    """A transaction that begins with taking the app's name from its database, which has another for the block."""
    async with connection.transaction():
        # It takes the lock that new sessions wait for, and then waits itself for those that are there.
        ending = asyncio.ensure_future(_end_sessions(server, app))
        try:
            await _rename(connection, app.database, _name_leaving(app))
        finally:
            ending.cancel()
            await asyncio.wait([ending])
        yield


async def _end_sessions(server: PostgresServer, app: AppName) -> None:
    async with connected(server.make_admin_login()) as connection:
        since = time.monotonic()
        while True:
            await asyncio.sleep(_PAUSE)
            await connection.execute(_END, (app.database, time.monotonic() - since > _GRACE_SECONDS))


async def _keep(connection: Connection, app: AppName, note: UndoCopy) -> None:
    """Keep what was the app's database as the copy, which nobody enters."""
    undo = sql.Identifier(provision.name_undo(app))
    await _rename(connection, _name_leaving(app), provision.name_undo(app))
    await connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(undo))
    text = sql.Literal(_MARK + orjson.dumps(asdict(note)).decode())
    await connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(undo, text))


async def _copy_rights(connection: Connection, source: str, place: str) -> None:
    """Give the place what admins have set for the app's database: settings, limits, and who else may enter."""
    await connection.execute(_SETTINGS, (source, place))
    row = await (await connection.execute(_LIMIT, (source,))).fetchone()
    name = sql.Identifier(place)
    if row is not None:
        limit = sql.Literal(row[0])
        await connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, limit))
    for role, right, grantable in await (await connection.execute(_GRANTS, (source,))).fetchall():
        grant = sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(right), name, sql.Identifier(role))
        await connection.execute(grant + sql.SQL(" WITH GRANT OPTION" if grantable else ""))


async def _rename(connection: Connection, name: str, wanted: str) -> None:
    await connection.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(wanted))
    )


async def _find_comment(connection: Connection, database: str) -> str | None:
    """The comment on a database: "" where it has none, None where there is no such database."""
    row = await (await connection.execute(_COMMENT, (database,))).fetchone()
    return None if row is None else row[0] or ""


def _parse(comment: str | None) -> UndoCopy | None:
    if comment is None or not comment.startswith(_MARK):
        return None
    return UndoCopy(**orjson.loads(comment.removeprefix(_MARK)))


def _name_leaving(app: AppName) -> str:
    """The name that a database has between two statements of one transaction."""
    return f"{provision.name_undo(app)}-leaving"
