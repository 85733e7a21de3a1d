"""What is gone once a down-migration has run, as far as its text tells: tables, columns and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ikoma.ports import Migration
from ikoma.postgres import statements
from ikoma.postgres.migration_lint import parts_of
from ikoma.postgres.migration_nodes import walk
from ikoma.postgres.migration_schema import Schema


def losses(down: Migration, rows: Mapping[str, int | None]) -> list[str]:
    """One line for each table and column that goes, and for each table that loses rows.

    Args:
        rows: how many there are now, by table; None where they could not be counted.
    """
    schema = Schema()
    found: list[str] = []
    for statement in statements.split(down.sql.removeprefix("\ufeff")):
        for node, command in parts_of(statement):
            found += _lost(node, command, schema, rows)
    return list(dict.fromkeys(found))


def _lost(node: Any, command: Any, schema: Schema, rows: Mapping[str, int | None]) -> Iterator[str]:
    match type(node).__name__:
        case "DropStmt" if node.removeType.name == "OBJECT_TABLE":
            for parts in node.objects:
                yield f"the table {schema.dotted(parts)}, with {counted(rows.get(schema.dotted(parts)))}"
        case "DropStmt" if node.removeType.name == "OBJECT_SCHEMA":
            for part in node.objects:
                yield f"the schema {part.sval}, with what is in it"
        case "AlterTableStmt" if command is not None and command.subtype.name == "AT_DropColumn":
            table = schema.relation(node.relation)
            yield f"the column {table}.{command.name}, of {counted(rows.get(table))}"
        case "TruncateStmt":
            for relation in node.relations:
                yield f"all rows of {schema.relation(relation)}: {counted(rows.get(schema.relation(relation)))}"
        case _:
            yield from _rows(node, schema)


def _rows(node: Any, schema: Schema) -> Iterator[str]:
    for item in walk(node):
        if type(item).__name__ == "DeleteStmt":
            which = "rows" if item.whereClause is not None else "all rows"
            yield f"{which} of {schema.relation(item.relation)}"


def counted(number: int | None) -> str:
    """A number of rows as a person reads it."""
    if number is None:
        return "rows that were not counted"
    return f"{number:,} row{'' if number == 1 else 's'}"
