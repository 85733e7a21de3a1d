"""Databases: their tables, rows of a query, backups."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Table
from ikoma.cli.views import ForCall, write_command
from ikoma.cli.words import Size, Span, Time, word_count
from ikoma.kernel.page import Column

_NUMBERS = (
    "int2",
    "int4",
    "int8",
    "numeric",
    "float4",
    "float8",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
)


def show_status(result: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Block]:
    if not result["exists"]:
        return [Message(f"It has no database: `{write_command('db.create', given)}` makes one.", "warning")]
    migrations = result.get("migrations") or {}
    pending = migrations.get("pending") or []
    undo, back = result.get("undo") or {}, write_command("db.restore", given, undo=True)
    window = result.get("pointInTime") or {}
    return [
        FactList(
            [
                ("database", result["name"]),
                ("size", Size(result["size"])),
                ("tables", result["tables"] or "none"),
                ("applied", migrations.get("applied") or "none"),
                ("pending", pending or "none"),
                ("undo copy", f"from before {undo['before']}: `{back}` swaps back" if undo else None),
                ("kept until", Time(undo.get("until")) if undo else None),
                ("goes back to", f"{window['since']} … {window['until']}" if window.get("since") else None),
            ]
        ),
        *([Message(f"Point in time: {window['problem']}.", "warning")] if window.get("problem") else []),
    ]


def show_rows(result: Mapping[str, Any]) -> Sequence[Block]:
    types = result.get("types") or [""] * len(result["columns"])
    columns = [
        Column(name, cut=True, right=kind in _NUMBERS) for name, kind in zip(result["columns"], types, strict=True)
    ]
    listed = [[_write_cell(value) for value in row] for row in result["rows"]]
    said = word_count(len(listed), "row")
    more = (
        Message(f"{said}; there are more: --limit shows them.", "warning") if result.get("truncated") else Message(said)
    )
    return [Table(columns, listed), more]


def show_backup(result: Mapping[str, Any]) -> Sequence[Block]:
    proven = result.get("proven")
    said = (
        "The backup is made, and proven by a restore."
        if proven
        else "The backup is made; it is not proven by a restore."
    )
    tables = result.get("tables") or {}
    counted = [f"{name}: {word_count(count, 'row')}" for name, count in list(tables.items())[:20]]
    facts = FactList(
        [
            ("file", result["backupPath"]),
            ("size", Size(result["size"])),
            ("SHA-256", result["sha256"]),
            ("restored in", Span(result["restoreSeconds"] * 1000) if result.get("restoreSeconds") else None),
            ("off-site", "verified" if result.get("offsiteVerifiedAt") else None),
        ]
    )
    return [Message(said, "good" if proven else "warning"), facts, ItemList("tables", counted), *_make_warnings(result)]


def show_applied(result: Mapping[str, Any]) -> Sequence[Block]:
    """The message names what was applied, where it was a little."""
    applied, tried = result.get("applied") or [], result.get("rehearsed") or []
    blocks: list[Block] = [
        Message(result["message"], "good" if result["success"] else "bad"),
        ItemList("applied", applied if len(applied) > 1 else []),
    ]
    if tried:
        columns = (Column("on the copy", cut=True), Column("took", right=True), Column("rows touched", cut=True))
        blocks.append(Table(columns, [(item["name"], Span(item["milliseconds"]), _count(item)) for item in tried]))
    locks = [f"{item['name']}: {lock}" for item in tried for lock in item.get("locks") or ()]
    return [*blocks, ItemList("locks", locks)]


def _count(item: Mapping[str, Any]) -> str:
    """The rows that a migration has written, changed or deleted, by table."""
    return ", ".join(f"{table} {count:,}" for table, count in (item.get("rows") or {}).items())


def _make_warnings(result: Mapping[str, Any]) -> list[Message]:
    return [Message(item, "warning") for item in result.get("warnings") or ()]


def _write_cell(value: Any) -> Any:
    if value is None:
        return "NULL"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


VIEWS = {
    "db.backup": show_backup,
    "db.migrate": show_applied,
    "db.query": show_rows,
    "db.status": ForCall(show_status),
}
