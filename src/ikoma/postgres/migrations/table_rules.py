"""Commands of an ALTER TABLE that the release before cannot live with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ikoma.postgres.migrations.nodes import Type, keeps_value, list_columns
from ikoma.postgres.migrations.schema import KnownSchema, make_column

LATER = "stop using it in one release, and drop it in the next"
FIRST = "let one release write only what satisfies it, and add it in the next"


@dataclass(frozen=True, slots=True)
class LintFinding:
    """`what` follows "Line 3"; `advice` is the safer way."""

    what: str
    advice: str
    breaks: bool = True
    unknown: bool = False
    """Whether it may break something, which nobody can see from here."""


def judge_command(node: Any, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    """Findings of one command of an ALTER TABLE."""
    name = schema.name_relation(node.relation)
    kind = node.objtype.name.removeprefix("OBJECT_")
    if schema.is_new(name) or schema.is_made_here(kind, name):
        return
    if kind == "TYPE":
        yield LintFinding(f"changes the type {name}", "make a new type, and use it from the next release on")
    elif rule := _COMMANDS.get(command.subtype.name):
        yield from rule(name, command, schema)


def _add_column(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    node = command.def_
    column = make_column(node, is_new=True)
    if column.not_null and not column.default and not (command.missing_ok and schema.find_column(table, node.colname)):
        advice = "give it a DEFAULT, or add it nullable and say NOT NULL in the next release"
        yield LintFinding(f"adds the column {table}.{node.colname} NOT NULL without a DEFAULT", advice)


def _drop_column(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    if not schema.are_all_new(table, [command.name]):
        yield LintFinding(f"drops the column {table}.{command.name}", LATER)


def _change_type(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    column, wanted = schema.find_column(table, command.name), Type.of(command.def_.typeName)
    if column is not None and (column.is_new or (column.type.widens_to(wanted) and keeps_value(command))):
        return
    known = "" if column is not None else ", and its old type is not known here"
    advice = "add a column of the new type, write both for one release, and drop the old one in the next"
    yield LintFinding(f"changes the type of {table}.{command.name} to {wanted.name}{known}", advice)


def _set_not_null(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    yield from _judge_not_null(table, command.name, schema)


def _judge_not_null(table: str, name: str, schema: KnownSchema) -> Iterator[LintFinding]:
    column = schema.find_column(table, name)
    if column is None or not (column.is_new or column.default or column.not_null):
        advice = "let one release always write it, or give it a DEFAULT first"
        yield LintFinding(f"sets {table}.{name} NOT NULL, which has no DEFAULT that is known here", advice)


def _judge_default(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    column = schema.find_column(table, command.name)
    if command.def_ is None and (column is None or (column.not_null and not column.is_new)):
        known = "NOT NULL" if column is not None else "NOT NULL as far as is known here"
        advice = "let one release always write it, and drop the DEFAULT in the next"
        yield LintFinding(f"drops the DEFAULT of {table}.{command.name}, which is {known}", advice)


_CONSTRAINTS = {
    "CONSTR_CHECK": "CHECK",
    "CONSTR_UNIQUE": "UNIQUE",
    "CONSTR_PRIMARY": "PRIMARY KEY",
    "CONSTR_EXCLUSION": "EXCLUDE",
    "CONSTR_FOREIGN": "FOREIGN KEY",
}


def _judge_constraint(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    node = command.def_
    kind = node.contype.name
    if kind == "CONSTR_NOTNULL":
        for key in node.keys:
            yield from _judge_not_null(table, key.sval, schema)
        return
    is_checked = node.is_enforced or kind not in ("CONSTR_CHECK", "CONSTR_FOREIGN")
    had_index = kind == "CONSTR_UNIQUE" and node.indexname
    if kind in _CONSTRAINTS and is_checked and not had_index and not schema.are_all_new(table, _list_constrained(node)):
        named = f" {node.conname}" if node.conname else ""
        yield LintFinding(f"adds the {_CONSTRAINTS[kind]} constraint{named} to {table}", FIRST)


def _list_constrained(node: Any) -> list[str]:
    keys = [key.sval for key in (*(node.keys or ()), *(node.fk_attrs or ()))]
    return keys or list_columns(node.raw_expr) or list_columns(node.exclusions)


def _drop_constraint(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    if schema.tables.get(table) is None or command.name not in schema.tables[table].references:
        advice = "an ON CONFLICT of the previous release fails if it was a unique one that it names"
        yield LintFinding(f"drops the constraint {table}.{command.name}", advice, breaks=False)


def _add_identity(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    options = command.def_ if isinstance(command.def_, tuple) else ()
    always = getattr(command.def_, "generated_when", "") == "a"
    always = always or any(one.defname == "generated" and one.arg.ival == ord("a") for one in options)
    if always and not schema.are_all_new(table, [command.name]):
        advice = "use GENERATED BY DEFAULT until no release writes it"
        yield LintFinding(f"makes {table}.{command.name} GENERATED ALWAYS, so that it cannot be written", advice)


def _drop_identity(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    if not schema.are_all_new(table, [command.name]):
        advice = "let one release always write it, and drop it in the next"
        yield LintFinding(f"drops the identity of {table}.{command.name}, which stays NOT NULL", advice)


def _hide_rows(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    advice = "let one release set what the policies ask for, and force them in the next"
    yield LintFinding(f"forces row security on {table}, which hides rows from the app's own role", advice)


def _take_rows(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    part = command.def_.name if command.subtype.name == "AT_DetachPartition" else command.def_
    yield LintFinding(f"takes rows away between {table} and {schema.name_relation(part)}", LATER)


def _judge_owner(table: str, command: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    yield LintFinding(f"gives {table} to another owner", "leave it with the app's own role")


_COMMANDS: dict[str, Callable[[str, Any, KnownSchema], Iterator[LintFinding]]] = {
    "AT_AddColumn": _add_column,
    "AT_DropColumn": _drop_column,
    "AT_AlterColumnType": _change_type,
    "AT_SetNotNull": _set_not_null,
    "AT_ColumnDefault": _judge_default,
    "AT_AddConstraint": _judge_constraint,
    "AT_DropConstraint": _drop_constraint,
    "AT_AddIdentity": _add_identity,
    "AT_SetIdentity": _add_identity,
    "AT_DropIdentity": _drop_identity,
    "AT_ForceRowSecurity": _hide_rows,
    "AT_DetachPartition": _take_rows,
    "AT_DropInherit": _take_rows,
    "AT_ChangeOwner": _judge_owner,
}
