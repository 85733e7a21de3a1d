"""Proves a backup: it is restored at once, into a database that stands in for the app's own and goes again.

Only the whole file with its rows proves anything: a check, an index or a materialised view fails of rows, not of its
text. What is restored is counted and compared with what was dumped.
"""

from __future__ import annotations

import secrets
import time

import psycopg
from psycopg import sql

from ikoma.errors import BackupUnproven, RestoreFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup import restore
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server.server import PostgresServer

_TABLES = """
SELECT n.nspname::text, c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ikoma')
"""
# As the app's role: to plan a query can run code that the app has put into an index.
_COUNTER = """
CREATE SCHEMA {schema};
CREATE FUNCTION {schema}.count_rows(relation text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
AS 'DECLARE found bigint; BEGIN EXECUTE concat(''SELECT count(*) FROM ONLY '', $1) INTO found; RETURN found; END';
ALTER FUNCTION {schema}.count_rows(text) OWNER TO {role}
"""
_COUNT = "SELECT {schema}.count_rows({table})"


async def prove(
    server: PostgresServer, credentials: Credentials, dump: Dump, place: Credentials, what: str, progress: Progress
) -> float:
    """Restore a dump of the app's database into the one that stands in for it; how many seconds that took.

    Args:
        what: how the sentence begins that says why it fails.

    Raises:
        BackupUnproven: it cannot be restored, or a table has other rows then.
    """
    began = time.monotonic()
    try:
        await restore.restore(server, credentials, dump.path, progress, into=place)
    except RestoreFailed as error:
        reason = error.message.partition(": ")[2]
        raise BackupUnproven(
            f"{what}: {reason}", audit_message=f"{what}.", hint=_hint(error), **error.details
        ) from error
    taken = time.monotonic() - began
    await _compare(server, place, dump, what)
    return taken


def _hint(error: RestoreFailed) -> str | None:
    return None if error.hint == error.default_hint else error.hint


async def _compare(server: PostgresServer, place: Credentials, dump: Dump, what: str) -> None:
    async with connected(server.admin(place.database)) as connection:
        # A schema of the app's cannot have this name.
        counter = sql.Identifier(f"ikoma_count_{secrets.token_hex(6)}")
        await connection.execute(sql.SQL(_COUNTER).format(schema=counter, role=sql.Identifier(place.role)))
        try:
            await _compare_tables(connection, counter, dump, what)
        finally:
            await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(counter))


async def _compare_tables(connection: Connection, counter: sql.Identifier, dump: Dump, what: str) -> None:
    for schema, table in await (await connection.execute(_TABLES)).fetchall():
        name = table if schema == "public" else f"{schema}.{table}"
        if (wanted := dump.tables.get(name)) is None:
            continue
        found = await _count(connection, counter, sql.Identifier(schema, table))
        if found not in (wanted, None):
            raise BackupUnproven(f"{what}: {quote_name(name)} has {found} rows then, of {wanted}.")


async def _count(connection: Connection, counter: sql.Identifier, table: sql.Identifier) -> int | None:
    """Rows of a table; None where its owner may not see all of them."""
    counting = sql.SQL(_COUNT).format(schema=counter, table=sql.Literal(table.as_string(connection)))
    try:
        row = await (await connection.execute(counting)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    assert row is not None
    return int(row[0])
