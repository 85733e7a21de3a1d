"""Rows and checksums of an app's tables, as one snapshot has them, read with no more than the app's rights.

A checksum is the sum of a 64-bit hash of the text of each row: no order matters, and one row at a time is held. What
decides how a value is written (dates, floats, money) is set here, and columns go by their names: so a restored table
has the same checksum, although its file, its sessions and the order of inherited columns are others. The hash is one
that PostgreSQL may change with a major version; a manifest says of which one it is.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ikoma.model import AppName
from ikoma.postgres.connect import Connection, is_lost

LARGE_OBJECTS = "pg_catalog.pg_largeobject"
"""Stands among the tables for the large objects, which have no rows that could be counted."""

_BEGIN = """
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0
"""
_TABLES = """
SELECT n.nspname::text, c.relname::text, c.relfilenode, ARRAY(
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attname::text COLLATE "C"
), c.oid
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ikoma') AND c.relpersistence <> 't'
ORDER BY 1, 2
"""
# To plan a query can run code that the app has put into an index, so this is a function with its owner's rights, which
# such code cannot leave. The owner may do what the app's role may, and sees rows that the app hides from itself: a role
# that nobody else ever sees, since the transaction is rolled back.
_READER = """
CREATE ROLE {reader} BYPASSRLS IN ROLE {role};
CREATE SCHEMA {reader};
CREATE FUNCTION {reader}.read_table(
    relation text, columns text, OUT counted bigint, OUT checksum numeric, OUT node oid
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET lock_timeout = '2s' SET extra_float_digits = 1
SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET timezone = 'UTC' SET bytea_output = 'hex'
SET lc_monetary = 'C' SET quote_all_identifiers = off AS $read$
BEGIN
    EXECUTE concat('SELECT count(*), ', columns, ' FROM ONLY ', relation, ' AS t') INTO counted, checksum;
    node := pg_relation_filenode(relation::regclass);
END $read$;
ALTER FUNCTION {reader}.read_table(text, text) OWNER TO {reader};
SET TRANSACTION READ ONLY
"""
_SUM = "coalesce(sum(hashtextextended(ROW({columns})::text, 0)), 0)"
# Pages of zeros are written where there were none, and zeros at a page's end are none either; the size is what counts.
_LARGE_OBJECTS_SUM = """
SELECT sum(hash) FROM (
    SELECT hashtextextended(concat_ws(':', loid, pageno, rtrim(data, '\\x00'::bytea)), 0)
    FROM pg_largeobject WHERE rtrim(data, '\\x00'::bytea) <> ''
    UNION ALL
    SELECT hashtextextended(concat_ws(':', m.oid, max(pageno::bigint * 2048 + length(data))), 0)
    FROM pg_largeobject_metadata AS m LEFT JOIN pg_largeobject AS l ON l.loid = m.oid GROUP BY m.oid
) AS pieces (hash)
"""


@dataclass(frozen=True, slots=True)
class DatabaseTable:
    """A table as the snapshot has it; `node` is its file's, another once it was rewritten."""

    schema: str
    name: str
    node: int
    columns: Sequence[str]
    oid: int = 0

    @property
    def shown(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class TableContent:
    rows: int
    checksum: str | None
    """None where it was not asked for."""


class DatabaseSnapshot:
    """One transaction's view of a database. Nothing that it makes outlives it.

    Args:
        name: by which pg_dump takes the same one.
    """

    def __init__(self, connection: Connection, role: str, name: str, tables: Sequence[DatabaseTable]) -> None:
        major, minor = divmod(connection.info.server_version, 10_000)
        self.postgres = f"{major}.{minor}"
        self._connection = connection
        self._role = role
        self._reader: sql.Identifier | None = None
        self.name = name
        self.tables = tables

    async def read(self, table: DatabaseTable, *, summed: bool = True) -> TableContent | None:
        """Count and sum a table's rows; None where it has changed its form since, is locked, or may not be read."""
        relation = sql.Identifier(table.schema, table.name).as_string(self._connection)
        columns = sql.SQL(", ").join(sql.Identifier("t", column) for column in table.columns)
        summing = sql.SQL(_SUM).format(columns=columns) if summed else sql.SQL("NULL::numeric")
        reader = self._reader or await self._make_reader()
        try:
            async with self._connection.transaction():  # a savepoint
                query = sql.SQL("SELECT * FROM {}.read_table(%s, %s)").format(reader)
                cursor = await self._connection.execute(query, (relation, summing.as_string(self._connection)))
                row = await cursor.fetchone()
        except psycopg.Error as error:
            if is_lost(error, self._connection) or isinstance(error, psycopg.errors.DiskFull):
                raise
            return None
        assert row is not None
        rows, checksum, node = row
        return TableContent(rows, None if checksum is None else str(checksum)) if node == table.node else None

    async def read_large_objects(self) -> str | None:
        """Sum the large objects; None where there are none."""
        row = await (await self._connection.execute(_LARGE_OBJECTS_SUM)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    async def read_all(self) -> dict[str, str]:
        """The checksum of each table that has one, and of the large objects where there are any."""
        found = {table.shown: await self.read(table) for table in self.tables}
        sums = {name: content.checksum for name, content in found.items() if content and content.checksum}
        objects = await self.read_large_objects()
        return sums if objects is None else {**sums, LARGE_OBJECTS: objects}

    async def _make_reader(self) -> sql.Identifier:
        # Neither a schema nor a role of an app's can have this name.
        reader = sql.Identifier(f"ikoma_reader_{secrets.token_hex(6)}")
        await self._connection.execute(sql.SQL(_READER).format(reader=reader, role=sql.Identifier(self._role)))
        self._reader = reader
        return reader


@asynccontextmanager
async def hold_snapshot(connection: Connection, app: AppName) -> AsyncIterator[DatabaseSnapshot]:
    """A snapshot for the block, of the database that this admin's connection is to."""
    await connection.execute(_BEGIN)
    try:
        rows = await (await connection.execute(_TABLES)).fetchall()
        name = await (await connection.execute("SELECT pg_export_snapshot()")).fetchone()
        assert name is not None
        yield DatabaseSnapshot(connection, app.role, name[0], [DatabaseTable(*row) for row in rows])
    finally:
        if not connection.closed:
            await connection.execute("ROLLBACK")
