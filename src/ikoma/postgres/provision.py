"""An app's database and role: made, looked at and dropped with the admin's rights, and never another's.

What IKOMA made carries a comment that says for which app, from the first moment it has its name. A database or role
without it is never touched. Making is a way towards a state, not a script: a run that was killed is simply done again.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from ikoma.errors import AppBusy, DatabaseForeign
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials, DatabaseState
from ikoma.postgres.blockers import ended_after
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server.server import PostgresServer

_ROLE_LIMITS = {
    "temp_file_limit": "2GB",  # a superuser's alone; the others the app may change for itself: guard.py looks at that
    "work_mem": "32MB",
    "maintenance_work_mem": "64MB",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "1",
    "idle_in_transaction_session_timeout": "15min",
}

_SESSIONS, _SESSIONS_OF_PREVIEW = 50, 20
"""An app and ten previews, which is the most, leave places for others."""

_GRACE_SECONDS = 1.0
_STAND_IN, _BESIDE, _FOREIGN = "ikoma-stand-in-", "ikoma-beside-", "ikoma-foreign-"
_PASSING = (_STAND_IN, _BESIDE, _FOREIGN)
"""Names of databases that go with the call that made them. No app can be called so."""
UNDO = "ikoma-undo-"

_SIZE = "SELECT pg_database_size(current_database())"

_WRITES_ALWAYS = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = 'pg_logical_emit_message'
"""

_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ikoma') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END
"""


async def create(server: PostgresServer, app: AppName, password: Secret) -> None:
    """Converge on the app's database with its own isolated role; DatabaseForeign where the name is another's."""
    async with connected(server.make_admin_login()) as connection:
        await take_turns(connection, app)
        await _refuse_foreign(connection, app)
        async with connection.transaction():
            if await _mark(connection, "role", app) is None:
                await connection.execute(sql.SQL("CREATE ROLE {}").format(_name_role(app)))
            await _write_comment(connection, "ROLE", _name_role(app), app)
            await _set_role(connection, app, password)
        if not await _is_there(connection, app):
            await _make_database(connection, app)
        await _isolate(connection, app, _name_database(app))
    async with connected(server.make_admin_login(app.database)) as connection:
        await _close_functions(connection)
        # The app may have dropped it.
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS public"))
        await connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(_name_role(app)))


async def drop(server: PostgresServer, app: AppName) -> None:
    """Drop what was made for the app; sessions in it are ended. What is another's stays, silently: it is not ours."""
    async with connected(server.make_admin_login()) as connection:
        await take_turns(connection, app)
        await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_name_unfinished(app)))
        for name in (*(passing + _hash_name(app) for passing in _PASSING), name_undo(app)):
            await drop_database(connection, name)
        if await _mark(connection, "database", app) == _mark_of(app):
            await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_name_database(app)))
        if await _mark(connection, "role", app) == _mark_of(app):
            await _drop_role(connection, app)


async def make_place(server: PostgresServer, app: AppName, name: str) -> None:
    """Make an empty database that the app's role may enter, besides its own. One of that name that is left goes first.

    Where there is no such role any more, as of an app that was removed, there is one until the place is dropped.
    """
    place = sql.Identifier(name)
    async with connected(server.make_admin_login()) as connection:
        await take_turns(connection, app)
        if await _mark(connection, "role", app) is None:
            async with connection.transaction():
                await connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(_name_role(app)))
                await _write_comment(connection, "ROLE", _name_role(app), app)
        await drop_database(connection, name)
        await connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(place))
        await _isolate(connection, app, place)
    async with connected(server.make_admin_login(name)) as connection:
        await _close_functions(connection)
        await connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(_name_role(app)))


async def drop_place(server: PostgresServer, app: AppName, name: str) -> None:
    """Drop it; sessions in it are ended. The app's role goes too where the app has no database."""
    async with connected(server.make_admin_login()) as connection:
        await take_turns(connection, app)
        await drop_database(connection, name)
        if not await _is_there(connection, app) and await _mark(connection, "role", app) == _mark_of(app):
            with suppress(DatabaseForeign):  # it has rights elsewhere
                await _drop_role(connection, app)


async def sweep(server: PostgresServer) -> None:
    """Drop those that are left; one that is in use has a session, and stays."""
    async with connected(server.make_admin_login()) as connection:
        cursor = await connection.execute("SELECT datname::text FROM pg_database")
        for (name,) in await cursor.fetchall():
            if name.startswith(_PASSING):
                with suppress(psycopg.errors.ObjectInUse):
                    await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


async def is_owned(server: PostgresServer, app: AppName) -> bool:
    """Whether there is a database that was made for this app."""
    async with connected(server.make_admin_login()) as connection:
        return await _is_ours(connection, app)


async def read_state(server: PostgresServer, app: AppName) -> DatabaseState:
    """Whether the app has a database, its size in bytes and its tables."""
    async with connected(server.make_admin_login()) as connection:
        if not await _is_ours(connection, app):
            return DatabaseState(exists=False, name=app.database)
    async with connected(server.make_admin_login(app.database)) as connection:
        size = await _read_value(connection, _SIZE)
        cursor = await connection.execute(_TABLES)
        tables = tuple(_show(schema, table) for schema, table in await cursor.fetchall())
    return DatabaseState(exists=True, name=app.database, size=int(size), tables=tables)


async def count_rows(server: PostgresServer, credentials: Credentials, *, timeout: float) -> dict[str, int | None]:
    """Rows of each table, counted now in one snapshot; None for those that could not be counted in time (seconds).

    As the app's own role: to plan a query can run code that the app has put into an index.
    """
    counted: dict[str, int | None] = {}
    async with (
        connected(server.make_app_login(credentials)) as connection,
        ended_after(server, connection, max(timeout, 0) + _GRACE_SECONDS),
    ):
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        tables = await (await connection.execute(_TABLES)).fetchall()
        deadline = time.monotonic() + timeout
        for schema, table in tables:
            left = 0.0 if connection.closed else deadline - time.monotonic()
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            counted[_show(schema, table)] = await _measure_in_time(connection, query, left)
    return counted


async def _measure_in_time(connection: Connection, query: sql.Composed, seconds: float) -> int | None:
    if seconds <= 0:
        return None
    try:
        async with connection.transaction():  # a savepoint: one table that takes too long ends only its own count
            await connection.execute(
                "SELECT set_config('statement_timeout', %s, true)", (str(int(seconds * 1000) + 1),)
            )
            return int(await _read_value(connection, query))
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege, psycopg.errors.AdminShutdown):
        return None


def _show(schema: str, table: str) -> str:
    return table if schema == "public" else f"{schema}.{table}"


async def take_turns(connection: Connection, app: AppName) -> None:
    """Wait for a run that was killed: its last statement may still be at work in the server."""
    key = int.from_bytes(hashlib.sha256(app.database.encode()).digest()[:8], signed=True)
    await connection.execute("SET lock_timeout = '10s'")
    try:
        await connection.execute("SELECT pg_advisory_lock(%s)", (key,))
    except psycopg.errors.LockNotAvailable as error:
        raise AppBusy("Another run is making or dropping this database.") from error
    await connection.execute("RESET lock_timeout")


async def _set_role(connection: Connection, app: AppName, password: Secret) -> None:
    # The server gets a verifier, never the password: it can be in no log and in no list of running statements.
    verifier = connection.pgconn.encrypt_password(
        password.reveal().encode(), app.role.encode(), b"scram-sha-256"
    ).decode()
    await connection.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT"
            " CONNECTION LIMIT {} PASSWORD {}"
        ).format(
            _name_role(app), sql.Literal(_SESSIONS_OF_PREVIEW if app.previewed else _SESSIONS), sql.Literal(verifier)
        )
    )
    for name, value in _ROLE_LIMITS.items():
        await connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(_name_role(app), sql.Identifier(name), sql.Literal(value))
        )


async def _make_database(connection: Connection, app: AppName) -> None:
    """Make it under another name, and let it have its own once it is marked and closed to others."""
    unfinished = _name_unfinished(app)
    await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(unfinished))
    await connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(unfinished))
    await _isolate(connection, app, unfinished)
    await connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(unfinished, _name_database(app)))


async def _isolate(connection: Connection, app: AppName, database: sql.Identifier) -> None:
    """Nobody but the app's role may enter; the database stays the admin's, so that its app cannot drop it."""
    async with connection.transaction():
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        await connection.execute(
            sql.SQL("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}").format(database, _name_role(app))
        )
        await mark_database(connection, app, database)


async def mark_database(connection: Connection, app: AppName, database: sql.Identifier) -> None:
    """Say on a database that it was made for this app."""
    await _write_comment(connection, "DATABASE", database, app)


async def _close_functions(connection: Connection) -> None:
    """Take away what writes to the write-ahead log even in a transaction that only reads."""
    cursor = await connection.execute(_WRITES_ALWAYS)
    for (signature,) in await cursor.fetchall():
        await connection.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC".encode())


async def _drop_role(connection: Connection, app: AppName) -> None:
    try:
        await connection.execute(sql.SQL("DROP ROLE {}").format(_name_role(app)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DatabaseForeign(
            f"The role {app.role!r} has rights or objects in databases that IKOMA did not make, and stays.",
            hint=f"As the admin: `DROP OWNED BY {app.role}` in those databases, then try again.",
        ) from error


async def _refuse_foreign(connection: Connection, app: AppName) -> None:
    for kind in ("role", "database"):
        if await _mark(connection, kind, app) not in (None, _mark_of(app)):
            raise DatabaseForeign(f"PostgreSQL has a {kind} {app.database!r} that IKOMA did not make.")


async def _is_ours(connection: Connection, app: AppName) -> bool:
    return await _mark(connection, "database", app) == _mark_of(app)


async def _is_there(connection: Connection, app: AppName) -> bool:
    return await _mark(connection, "database", app) is not None


async def _mark(connection: Connection, kind: str, app: AppName) -> str | None:
    """The comment on the app's role or database: "" where there is none, None where the thing is not there."""
    query = {
        "role": "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s",
        "database": "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s",
    }[kind]
    value = await _read_value(connection, query, (str(app),))
    return None if value is None else str(value)


async def _write_comment(connection: Connection, kind: str, name: sql.Identifier, app: AppName) -> None:
    text = sql.Literal(_mark_of(app))
    await connection.execute(sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), name, text))


async def _read_value(connection: Connection, query: str | sql.Composed, parameters: tuple[Any, ...] = ()) -> Any:
    cursor: psycopg.AsyncCursor[tuple[Any, ...]] = await connection.execute(
        query.encode() if isinstance(query, str) else query, parameters
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


def _mark_of(app: AppName) -> str:
    return f"IKOMA app {app}"


def _name_role(app: AppName) -> sql.Identifier:
    return sql.Identifier(app.role)


def _name_database(app: AppName) -> sql.Identifier:
    return sql.Identifier(app.database)


def _name_unfinished(app: AppName) -> sql.Identifier:
    """The name of a database that is being made. No app can be called so."""
    return sql.Identifier(f"ikoma-making-{_hash_name(app)}")


def name_stand_in(app: AppName) -> str:
    """Name the database that stands in for the app's where a backup or a migration is tried."""
    return _STAND_IN + _hash_name(app)


def name_beside(app: AppName) -> str:
    """Name the database that is to take the place of the app's."""
    return _BESIDE + _hash_name(app)


def name_foreign(app: AppName) -> str:
    """Name the database that holds what another app's was, on its way into the app's."""
    return _FOREIGN + _hash_name(app)


def name_undo(app: AppName) -> str:
    """Name the database that the app's was before it was restored."""
    return UNDO + _hash_name(app)


def _hash_name(app: AppName) -> str:
    return hashlib.sha256(app.database.encode()).hexdigest()[:32]


async def drop_database(connection: Connection, name: str) -> None:
    """Drop a database, if it is there; sessions in it are ended."""
    await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
