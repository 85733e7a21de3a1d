"""Rules of sorting that are the system's own (glibc, ICU). Another version of them may put text in another order: then
an index finds no more what is there, and rows of a partition belong elsewhere.

PostgreSQL notes with each database and each collation which version it was made by. What comes with every new cluster
(`"en_US"`) is noted anew there, so what counts is the note of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from ikoma.errors import MajorUpgradeFailed
from ikoma.postgres.connect import Connection

Rules = Mapping[str, str]
"""Versions of rules, by the collation's name; that of the database itself has the name ``DEFAULT``."""

DEFAULT = ""
_COLLATIONS = """
SELECT format('%I.%I', n.nspname, c.collname), {version} FROM pg_collation AS c
    JOIN pg_namespace AS n ON n.oid = c.collnamespace JOIN pg_database AS d ON d.datname = current_database()
WHERE c.collencoding IN (-1, d.encoding) AND {version} IS NOT NULL
"""
_DATABASE = "SELECT '', {version} FROM pg_database WHERE datname = current_database() AND {version} IS NOT NULL"
_NOTED = f"{_COLLATIONS.format(version='collversion')} UNION ALL {_DATABASE.format(version='datcollversion')}"
_ACTUAL = (
    f"{_COLLATIONS.format(version='pg_collation_actual_version(c.oid)')} UNION ALL "
    f"{_DATABASE.format(version='pg_database_collation_actual_version(oid)')}"
)
_USED = """
SELECT DISTINCT CASE c.collprovider WHEN 'd' THEN '' ELSE format('%I.%I', n.nspname, c.collname) END
FROM (
    SELECT unnest(indcollation) AS oid FROM pg_index UNION SELECT unnest(partcollation) FROM pg_partitioned_table
) AS used JOIN pg_collation AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.collnamespace
"""
_OWN = """
SELECT format('%I.%I', n.nspname, c.collname) FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
WHERE c.oid >= 16384 AND c.collversion <> pg_collation_actual_version(c.oid)
"""
_OWN_DEFAULT = """
SELECT 1 FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
# Ranges of text: by columns of it, whose bounds can be looked at; or by expressions, which may call an app's functions.
_RANGES = """
SELECT p.partrelid::regclass::text, p.partexprs IS NOT NULL FROM pg_partitioned_table AS p
WHERE p.partstrat = 'r' AND EXISTS (
    SELECT FROM unnest(p.partcollation) AS one (oid) JOIN pg_collation AS c USING (oid)
    WHERE c.collname NOT IN ('C', 'POSIX')
)
ORDER BY 1
"""
_PARTS = """
SELECT t.relid::regclass::text, pg_get_partition_constraintdef(t.relid)
FROM pg_partition_tree(%s::regclass) AS t JOIN pg_class AS c ON c.oid = t.relid WHERE c.relkind = 'r' AND t.isleaf
"""
_HINT = "Have it without partitions, or by a key that is no text, then try again. Nothing was changed."


async def read_noted(connection: Connection) -> Rules:
    """The versions that a database was made by."""
    return await _read(connection, _NOTED)


async def find_changed(connection: Connection, noted: Rules) -> list[str]:
    """Rules that something in this database is sorted by, and that are others now; `DEFAULT` for the database's own."""
    now = await _read(connection, _ACTUAL)
    used = [str(row[0]) for row in await (await connection.execute(_USED.encode())).fetchall()]
    return sorted(name for name in used if name in noted and noted[name] != now.get(name))


async def sort_anew(connection: Connection, database: str) -> None:
    """Make all indexes anew. MajorUpgradeFailed where rows lie in a partition to which they belong no more."""
    await connection.execute(sql.SQL("REINDEX DATABASE {}").format(sql.Identifier(database)))
    await connection.execute("SET constraint_exclusion = off")  # else the rows are not looked at
    for table, is_computed in await (await connection.execute(_RANGES.encode())).fetchall():
        if is_computed:
            raise MajorUpgradeFailed(
                f"{database}: {table} has its rows in partitions by ranges of a computed text, and the rules of "
                "sorting are others.",
                hint=_HINT,
            )
        parts = await (await connection.execute(_PARTS, (table,))).fetchall()
        for part, bounds in parts:
            if bounds is not None:
                await _look_at_rows(connection, database, part, bounds)


async def note_anew(connection: Connection, database: str) -> None:
    """Have the versions of now noted, once all is sorted by them."""
    for (collation,) in await (await connection.execute(_OWN.encode())).fetchall():
        await connection.execute(f"ALTER COLLATION {collation} REFRESH VERSION".encode())
    if await (await connection.execute(_OWN_DEFAULT)).fetchone() is not None:
        name = sql.Identifier(database)
        await connection.execute(sql.SQL("ALTER DATABASE {} REFRESH COLLATION VERSION").format(name))


async def _look_at_rows(connection: Connection, database: str, part: str, bounds: str) -> None:
    wrong = await (
        await connection.execute(f"SELECT FROM ONLY {part} WHERE NOT ({bounds}) LIMIT 1".encode())
    ).fetchone()
    if wrong is not None:
        raise MajorUpgradeFailed(
            f"{database}: by the rules of sorting of the new system, rows of {part} belong in another partition.",
            hint=_HINT,
        )


async def _read(connection: Connection, query: str) -> Rules:
    return {str(name): str(version) for name, version in await (await connection.execute(query.encode())).fetchall()}
