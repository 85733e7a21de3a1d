"""Losses of some SQL, as far as its text tells: tables, columns and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ikoma.model import quote_name
from ikoma.ports.databases import Migration
from ikoma.postgres.migrations.lint import parts_of
from ikoma.postgres.migrations.nodes import walk
from ikoma.postgres.migrations.schema import KnownSchema
from ikoma.postgres.sql import statements


def losses(sql: Migration, rows: Mapping[str, int | None], *, only_rows: bool = False) -> list[str]:
    """One line for each table and column that goes, and for each table that loses rows.

    Args:
        rows: how many there are now, by table; None where they could not be counted.
        only_rows: leave out what holds no rows now, and tables that are not there yet.
    """
    schema = KnownSchema()
    found: list[str] = []
    for statement in statements.split(sql.sql.removeprefix("\ufeff")):
        for node, command in parts_of(statement):
            found += [
                line for table, line in _lost(node, command, schema, rows) if not only_rows or _holds_rows(table, rows)
            ]
    return list(dict.fromkeys(found))


def _holds_rows(table: str | None, rows: Mapping[str, int | None]) -> bool:
    """Whether a table has rows now, or any (None); where its schema is not known for sure, one of its name counts."""
    alike = (table is None or name.rpartition(".")[2] == table.rpartition(".")[2] for name in rows)
    return any(same and number != 0 for same, number in zip(alike, rows.values(), strict=True))


def _lost(
    node: Any, command: Any, schema: KnownSchema, rows: Mapping[str, int | None]
) -> Iterator[tuple[str | None, str]]:
    """Tables, None for several, and what is lost of each."""
    match type(node).__name__:
        case "DropStmt" if node.removeType.name == "OBJECT_TABLE":
            for table in map(schema.dotted, node.objects):
                yield table, f"the table {quote_name(table)}, with {counted(rows.get(table))}"
        case "DropStmt" if node.removeType.name == "OBJECT_SCHEMA":
            for part in node.objects:
                yield None, f"the schema {quote_name(part.sval)}, with what is in it"
        case "AlterTableStmt" if command is not None and command.subtype.name == "AT_DropColumn":
            table = schema.relation(node.relation)
            yield table, f"the column {quote_name(f'{table}.{command.name}')}, of {counted(rows.get(table))}"
        case "TruncateStmt":
            for table in map(schema.relation, node.relations):
                yield table, f"all rows of {quote_name(table)}: {counted(rows.get(table))}"
        case _:
            yield from _rows(node, schema)


def _rows(node: Any, schema: KnownSchema) -> Iterator[tuple[str, str]]:
    for item in walk(node):
        if type(item).__name__ == "DeleteStmt":
            table = schema.relation(item.relation)
            yield table, f"{'all rows' if item.whereClause is None else 'rows'} of {quote_name(table)}"


def counted(number: int | None) -> str:
    """A number of rows as a person reads it."""
    if number is None:
        return "rows that were not counted"
    return f"{number:,} row{'' if number == 1 else 's'}"
