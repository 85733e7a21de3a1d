"""Losses of some SQL, as far as its text tells: tables, columns and rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ikoma.model import quote_name
from ikoma.ports.databases import Migration
from ikoma.postgres.migrations.lint import split_statement
from ikoma.postgres.migrations.nodes import walk
from ikoma.postgres.migrations.schema import KnownSchema
from ikoma.postgres.sql import statements


def find_losses(sql: Migration, rows: Mapping[str, int | None], *, only_rows: bool = False) -> list[str]:
    """One line for each table and column that goes, and for each table that loses rows.

    Args:
        rows: how many there are now, by table; None where they could not be counted.
        only_rows: leave out what holds no rows now, and tables that are not there yet.
    """
    schema = KnownSchema()
    added: set[tuple[str, str]] = set()
    found: list[str] = []
    for statement in statements.split(sql.sql.removeprefix("\ufeff")):
        for node, command in split_statement(statement):
            lost = [*_find_lost(node, command, schema, rows), *_find_overwritten(node, schema, added)]
            found += [line for table, line in lost if not only_rows or _holds_rows(table, rows)]
            if command is not None and command.subtype.name == "AT_AddColumn" and not command.missing_ok:
                added.add((schema.name_relation(node.relation), command.def_.colname))
    return list(dict.fromkeys(found))


def _holds_rows(table: str | None, rows: Mapping[str, int | None]) -> bool:
    """Whether a table has rows now, or any (None); where its schema is not known for sure, one of its name counts."""
    alike = (table is None or name.rpartition(".")[2] == table.rpartition(".")[2] for name in rows)
    return any(same and number != 0 for same, number in zip(alike, rows.values(), strict=True))


def _find_lost(
    node: Any, command: Any, schema: KnownSchema, rows: Mapping[str, int | None]
) -> Iterator[tuple[str | None, str]]:
    """Tables, None for several, and what is lost of each."""
    match type(node).__name__:
        case "DropStmt" if node.removeType.name == "OBJECT_TABLE":
            for table in map(schema.name_dotted, node.objects):
                yield table, f"the table {quote_name(table)}, with {word_rows(rows.get(table))}"
        case "DropStmt" if node.removeType.name == "OBJECT_SCHEMA":
            for part in node.objects:
                yield None, f"the schema {quote_name(part.sval)}, with what is in it"
        case "AlterTableStmt" if command is not None and command.subtype.name == "AT_DropColumn":
            table = schema.name_relation(node.relation)
            yield table, f"the column {quote_name(f'{table}.{command.name}')}, of {word_rows(rows.get(table))}"
        case "TruncateStmt":
            for table in map(schema.name_relation, node.relations):
                yield table, f"all rows of {quote_name(table)}: {word_rows(rows.get(table))}"
        case _:
            yield from _find_lost_rows(node, schema)


def _find_lost_rows(node: Any, schema: KnownSchema) -> Iterator[tuple[str, str]]:
    for item in walk(node):
        match type(item).__name__:
            case "DeleteStmt":
                table = schema.name_relation(item.relation)
                yield table, f"{'all rows' if item.whereClause is None else 'rows'} of {quote_name(table)}"
            case "MergeStmt" if any(one.commandType.name == "CMD_DELETE" for one in item.mergeWhenClauses):
                table = schema.name_relation(item.relation)
                yield table, f"rows of {quote_name(table)}"


def _find_overwritten(node: Any, schema: KnownSchema, added: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Values that others take the place of, but for those of columns that the same SQL has added."""
    for item in walk(node):
        match type(item).__name__:
            case "UpdateStmt":
                names = [one.name for one in item.targetList if one.name not in _find_filled(item.whereClause)]
                where = "all rows" if item.whereClause is None else "some rows"
            case "MergeStmt":
                changes = [one for one in item.mergeWhenClauses if one.commandType.name == "CMD_UPDATE"]
                names, where = [one.name for clause in changes for one in clause.targetList], "some rows"
            case _:
                continue
        table = schema.name_relation(item.relation)
        for name in dict.fromkeys(names):
            if (table, name) not in added:
                yield table, f"the values of {quote_name(f'{table}.{name}')}, in {where}"


def _find_filled(where: Any) -> set[str]:
    """The columns that hold no value in the rows that a WHERE chooses: they are given one, and lose none."""
    parts = [where]
    if type(where).__name__ == "BoolExpr" and where.boolop.name == "AND_EXPR":
        parts = list(where.args)
    tests = [one for one in parts if type(one).__name__ == "NullTest" and one.nulltesttype.name == "IS_NULL"]
    return {one.arg.fields[-1].sval for one in tests if type(one.arg).__name__ == "ColumnRef"}


def word_rows(number: int | None) -> str:
    """A number of rows as a person reads it."""
    if number is None:
        return "rows that were not counted"
    return f"{number:,} row{'' if number == 1 else 's'}"
