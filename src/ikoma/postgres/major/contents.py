"""All that a cluster holds, to be compared before and after: roles, databases, objects, and each table by its rows.

Rows and checksums are read as `backup/row_counts.py` reads them, with no more than the rights of each table's owner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from psycopg import sql

from ikoma.postgres.backup.row_counts import LARGE_OBJECTS, DatabaseSnapshot, DatabaseTable
from ikoma.postgres.connect import Connection, connected

Contents = dict[str, str]
"""Names of things, and what each has: `shop: public.orders` → `3 rows, 123`."""

Login = Callable[[str], Mapping[str, Any]]
"""Gives by what the platform's role comes to a database."""

_ROLES = """
SELECT 'role ' || rolname, concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
    rolbypassrls, rolconnlimit, rolvaliduntil, hashtextextended(coalesce(rolpassword, ''), 0))
FROM pg_authid WHERE rolname !~ '^pg_'
UNION ALL
SELECT DISTINCT concat('member ', m.member::regrole, ' of ', m.roleid::regrole), m.admin_option::text
FROM pg_auth_members AS m WHERE m.roleid >= 16384
UNION ALL
SELECT concat_ws(' ', 'settings', coalesce(d.datname, '*'),
        CASE s.setrole WHEN 0 THEN '*' ELSE s.setrole::regrole::text END),
    (SELECT string_agg(one, ' ' ORDER BY one COLLATE "C") FROM unnest(s.setconfig) AS one)
FROM pg_db_role_setting AS s LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
UNION ALL
SELECT 'database ' || datname,
    concat_ws(' ', datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit)
FROM pg_database WHERE datname <> 'template0'
"""
_OBJECTS = """
WITH own AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
SELECT 'relations of kind ' || relkind::text, count(*)::text FROM pg_class WHERE relnamespace IN (SELECT oid FROM own)
GROUP BY relkind
UNION ALL SELECT 'functions', count(*)::text FROM pg_proc WHERE pronamespace IN (SELECT oid FROM own)
UNION ALL SELECT 'types', count(*)::text FROM pg_type WHERE typnamespace IN (SELECT oid FROM own)
UNION ALL SELECT 'triggers', count(*)::text FROM pg_trigger
UNION ALL SELECT 'policies', count(*)::text FROM pg_policy
UNION ALL
SELECT 'constraints', count(*)::text FROM pg_constraint WHERE connamespace IN (SELECT oid FROM own) AND contype <> 'n'
UNION ALL SELECT 'extension ' || extname, extversion FROM pg_extension
UNION ALL
SELECT DISTINCT 'closed function ' || proname, '' FROM pg_proc AS p WHERE pronamespace = 'pg_catalog'::regnamespace
    AND NOT has_function_privilege('public', oid, 'EXECUTE')
    AND NOT EXISTS (SELECT FROM pg_init_privs AS i WHERE i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass)
UNION ALL
SELECT format('sequence %I.%I', schemaname, sequencename), concat_ws(' ', last_value, increment_by, cycle)
FROM pg_sequences
"""
_TABLES = """
SELECT pg_get_userbyid(c.relowner)::text, n.nspname::text, c.relname::text, pg_relation_filenode(c.oid), ARRAY(
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attname::text COLLATE "C"
)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 2, 3
"""
UNREADABLE = "cannot be read"


async def read_contents(login: Login) -> Contents:
    """Everything that is compared. All databases must take connections."""
    async with connected(login("postgres")) as connection:
        found: Contents = dict(await _ask(connection, _ROLES))
        rows = await _ask(
            connection, "SELECT datname, datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1"
        )
    for database, _ in rows:
        async with connected(login(database)) as connection:
            found |= {f"{database}: {name}": value for name, value in await _ask(connection, _OBJECTS)}
            found |= {f"{database}: {name}": value for name, value in (await _read_tables(connection)).items()}
    return found


def describe_differences(before: Contents, after: Contents) -> list[str]:
    """Tell what is not the same, a line for each."""
    names = sorted({name for name in before.keys() | after.keys() if before.get(name) != after.get(name)})
    return [f"{name}: {before.get(name, 'nothing')} before, {after.get(name, 'nothing')} after" for name in names]


async def _ask(connection: Connection, query: str) -> list[tuple[str, str]]:
    cursor = await connection.execute(query.encode())
    return [(str(name), str(value)) for name, value in await cursor.fetchall()]


async def _read_tables(connection: Connection) -> Contents:
    """The tables of one database, as one snapshot has them, owner by owner."""
    found: Contents = {}
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        tables: defaultdict[str, list[DatabaseTable]] = defaultdict(list)
        for owner, schema, name, node, columns in await (await connection.execute(_TABLES)).fetchall():
            tables[owner].append(DatabaseTable(schema, name, node, columns))
        objects = await DatabaseSnapshot(connection, "", "", []).read_large_objects()
        if objects is not None:
            found[LARGE_OBJECTS] = objects
        await connection.execute("SAVEPOINT each")
        for owner, own in tables.items():
            found |= await _read_own(connection, owner, own)
            await connection.execute("ROLLBACK TO each")  # it has become read-only, and the reader is of no more use
    finally:
        await connection.execute("ROLLBACK")
    return found


async def _read_own(connection: Connection, owner: str, tables: list[DatabaseTable]) -> Contents:
    snapshot = DatabaseSnapshot(connection, owner, "", tables)
    found = {}
    for table in tables:
        content = await snapshot.read(table)
        name = sql.Identifier(table.schema, table.name).as_string(connection)
        found[name] = UNREADABLE if content is None else f"{content.rows} rows, checksum {content.checksum}"
    return found
