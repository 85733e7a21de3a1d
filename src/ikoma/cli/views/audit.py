"""The audit log: its last entries, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, ItemList, Message, Table
from ikoma.cli.words import Span, State, Time, word_count
from ikoma.kernel.page import Column


def show_entries(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("when"),
        Column("caller", cut=True),
        Column("capability", cut=True),
        Column("app", cut=True),
        Column("result"),
        Column("code", cut=True),
        Column("took", right=True, spare=True),
        Column("role", spare=True),
    )
    rows = [
        (
            Time(entry["timestamp"]),
            entry.get("caller"),
            entry["capability"],
            (entry.get("arguments") or {}).get("appName"),
            State(entry["result"]),
            entry.get("code"),
            Span(entry.get("duration")) if entry.get("duration") else None,
            entry.get("role"),
        )
        for entry in result["entries"]
    ]
    blocks: list[Block] = [Table(columns, rows, empty="There are no such entries.")]
    if result.get("odd"):
        blocks.append(
            Message(
                f"{word_count(result['odd'], 'line')} of the log are no entries: `ikoma audit verify` says where.",
                "warning",
            )
        )
    return blocks


def show_verdict(result: Mapping[str, Any]) -> Sequence[Block]:
    files, anchors = word_count(len(result["files"]), "file"), word_count(result["anchors"], "anchor")
    counted = f"{result['entries']} entries in {files}, {anchors}"
    if result["valid"]:
        blocks: list[Block] = [Message(f"The audit log is as it was written: {counted}.", "good")]
    else:
        blocks = [Message(f"The audit log was changed: {word_count(result['bad'], 'bad place')} in {counted}.", "bad")]
        blocks.append(ItemList("", [_word_place(bad) for bad in result["found"]], "bad"))
    if result.get("lost"):
        blocks.append(
            Message(
                f"{result['lost']} entries could not be written: entries called audit.lost say when and of what.",
                "warning",
            )
        )
    if result.get("unchained"):
        blocks.append(Message(f"{result['unchained']} entries of an earlier version cannot be checked.", "warning"))
    return blocks


def _word_place(bad: Mapping[str, Any]) -> str:
    entry = f", entry {bad['seq']}" if bad.get("seq") is not None else ""
    return f"{bad['file']}:{bad['line']}{entry}: {bad['problem']}"


VIEWS = {"audit.query": show_entries, "audit.verify": show_verdict}
