"""Tables as the catalog has them, as far as rows that are put back into them depend on it.

It is read with the admin's session, in which no function of an app stands in for PostgreSQL's.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from ikoma.errors import TableMissing, TablesDiffer
from ikoma.model import quote_name
from ikoma.postgres.connect import Connection

_TABLES = """
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p', c.relforcerowsecurity,
    (SELECT CASE WHEN pn.nspname = 'public' THEN p.relname::text ELSE concat(pn.nspname, '.', p.relname) END
     FROM pg_class AS p JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
     WHERE c.relispartition AND p.oid = pg_partition_root(c.oid)),
    ARRAY(SELECT concat_ws(E'\\t', attname, format_type(atttypid, atttypmod), attgenerated) FROM pg_attribute
          WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ikoma') AND n.nspname !~ '^pg_'
ORDER BY 2, 3
"""
_PARTS = "SELECT DISTINCT relid::oid FROM unnest(%s::oid[]) AS root (oid) CROSS JOIN pg_partition_tree(root.oid)"
_FOREIGN_KEYS = """
SELECT k.conname::text, n.nspname::text, c.relname::text, k.conrelid, k.confrelid, pg_get_constraintdef(k.oid),
    obj_description(k.oid, 'pg_constraint')
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY(%(tables)s) OR k.confrelid = ANY(%(tables)s))
ORDER BY 2, 3, 1
"""
_TRIGGERS = """
SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgrelid = ANY(%s) AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1, 2, 3
"""
_SEQUENCES = """
SELECT d.refobjid, a.attname::text, n.nspname::text, c.relname::text, s.seqincrement > 0
FROM pg_depend AS d JOIN pg_sequence AS s ON s.seqrelid = d.objid JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid = ANY(%s) ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table of a database."""

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    hides_rows: bool
    """Whether row security holds for its owner too."""
    root: str | None
    """The table that it is a partition of."""
    attributes: Sequence[str]
    """Name, type and how it is generated, of each column."""

    @property
    def shown(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that have values of their own."""
        return tuple(name for name, _, generated in map(_split, self.attributes) if not generated)


@dataclass(frozen=True, slots=True)
class TableForeignKey:
    name: str
    schema: str
    table: str
    source: int
    """The table that refers."""
    target: int
    definition: str
    comment: str | None

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class Trigger:
    schema: str
    table: str
    name: str
    fires: str
    """As pg_trigger.tgenabled says it."""

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class OwnedSequence:
    table: int
    column: str
    schema: str
    name: str
    ascends: bool

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


async def read_tables(connection: Connection) -> list[TableShape]:
    """All tables of a database."""
    return [TableShape(*row) for row in await (await connection.execute(_TABLES)).fetchall()]


async def read_parts(connection: Connection, tables: Sequence[TableShape]) -> list[int]:
    """The tables themselves and all their partitions, by oid."""
    oids = [table.oid for table in tables]
    rows = await (await connection.execute(_PARTS, (oids,))).fetchall()
    return sorted({*oids, *(int(row[0]) for row in rows)})


async def read_foreign_keys(connection: Connection, oids: Sequence[int]) -> list[TableForeignKey]:
    """The foreign keys of these tables, and those that refer to them; of partitions, what their parent has."""
    rows = await (await connection.execute(_FOREIGN_KEYS, {"tables": list(oids)})).fetchall()
    return [TableForeignKey(*row) for row in rows]


async def read_triggers(connection: Connection, oids: Sequence[int]) -> list[Trigger]:
    """The triggers of these tables that fire, without PostgreSQL's own."""
    return [Trigger(*row) for row in await (await connection.execute(_TRIGGERS, (list(oids),))).fetchall()]


async def read_sequences(connection: Connection, tables: Sequence[TableShape]) -> list[OwnedSequence]:
    """The sequences that columns of these tables own."""
    rows = await (await connection.execute(_SEQUENCES, ([table.oid for table in tables],))).fetchall()
    return [OwnedSequence(*row) for row in rows]


def choose(tables: Sequence[TableShape], names: Sequence[str], where: str) -> list[TableShape]:
    """Find tables by the names that db.status shows, `public.` in front allowed.

    Raises:
        TableMissing: one is not there.
        TablesDiffer: one is a part of another, or a name could be of two.
    """
    found: dict[int, TableShape] = {}
    for name in dict.fromkeys(names):
        fitting = [table for table in tables if name in (table.shown, f"{table.schema}.{table.name}")]
        if not fitting:
            near = difflib.get_close_matches(name, [table.shown for table in tables], n=3, cutoff=0.5)
            raise TableMissing(
                f"There is no table {quote_name(name)} in {where}.",
                hint=f"Did you mean {', '.join(quote_name(item) for item in near)}? Nothing was changed."
                if near
                else None,
            )
        if len(fitting) > 1:
            raise TablesDiffer(f"{quote_name(name)} could be {len(fitting)} tables of {where}.")
        if (table := fitting[0]).root is not None:
            raise TablesDiffer(
                f"{quote_name(table.shown)} is a partition.",
                hint=f"Name the table that it is a part of: {quote_name(table.root)}. Nothing was changed.",
            )
        found[table.oid] = table
    return list(found.values())


def pair_tables(
    now: Sequence[TableShape], then: Sequence[TableShape], names: Sequence[str]
) -> list[tuple[TableShape, TableShape]]:
    """Find each table in the database and in the backup, and see that the rows of one fit into the other.

    Raises:
        TableMissing, TablesDiffer: it has no such table, or another one; the sentence says what differs.
    """
    pairs = list(zip(choose(now, names, "the database"), choose(then, names, "the backup"), strict=True))
    for live, kept in pairs:
        if differences := _compare(live, kept):
            raise TablesDiffer(f"{quote_name(live.shown)} is another table in the backup: {'; '.join(differences)}.")
    return pairs


def _compare(live: TableShape, kept: TableShape) -> list[str]:
    if live.is_partitioned != kept.is_partitioned:
        return [f"it is {'' if live.is_partitioned else 'not '}partitioned now"]
    now = {_split(item)[0]: _split(item)[1:] for item in live.attributes}
    then = {_split(item)[0]: _split(item)[1:] for item in kept.attributes}
    lines = [f"{quote_name(name)} is a column now, and not there" for name in now if name not in then]
    lines += [f"{quote_name(name)} is a column there, and not now" for name in then if name not in now]
    for name in now:
        if name in then and now[name] != then[name]:
            is_type = now[name][0] != then[name][0]
            kinds = (now[name][0], then[name][0]) if is_type else map(_describe, (now[name][1], then[name][1]))
            lines.append("{} is {} now, and {} there".format(quote_name(name), *kinds))
    return lines


def _describe(generated: str) -> str:
    return {"s": "generated and stored", "v": "generated"}.get(generated, "not generated")


def _split(attribute: str) -> tuple[str, str, str]:
    name, kind, generated = attribute.rsplit("\t", 2)
    return name, kind, generated
