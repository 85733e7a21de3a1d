"""Operations: one line each, and one whole: how far it is, or how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ikoma.cli import output, views
from ikoma.cli.blocks import Block, FactList, Message, Table
from ikoma.cli.naming import word_call
from ikoma.cli.words import Span, State, Time
from ikoma.kernel.page import Column

_SAID = {
    "succeeded": ("is done", "good"),
    "failed": ("has failed", "bad"),
    "cancelled": ("was cancelled", "warning"),
    "interrupted": ("was interrupted: the server stopped in the middle", "bad"),
    "running": ("goes on", "warning"),
}
_LAST_STEPS = 5


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("operation"),
        Column("state"),
        Column("what"),
        Column("app", cut=True),
        Column("started"),
        Column("by", cut=True, spare=True),
        Column("took", right=True, spare=True),
        Column("step", cut=True, spare=True),
    )
    rows = [
        (
            item["id"],
            State(item["state"]),
            word_call(item["capability"]).removeprefix("ikoma "),
            item.get("appName"),
            Time(item["startedAt"]),
            item["caller"],
            _measure_span(item),
            item.get("step"),
        )
        for item in result["operations"]
    ]
    return [
        Table(columns, rows, empty="Nothing was changed yet.", narrow="`ikoma wait ID` shows one whole, --json all")
    ]


def show_one(item: Mapping[str, Any]) -> Sequence[Block]:
    ended, kind = _SAID.get(item["state"], (item["state"], ""))
    of = f" of {item['appName']}" if item.get("appName") else ""
    facts: list[tuple[str, Any]] = [
        ("operation", item["id"]),
        ("by", item["caller"]),
        ("started", Time(item["startedAt"])),
        ("took", _measure_span(item)),
    ]
    given = {"appName": item["appName"]} if item.get("appName") else {}
    made = views.lay_out_result(item["capability"], item["result"], given) if item.get("result") else ()
    for block in made:
        if isinstance(block, FactList) and not block.title:
            facts += block.pairs
    blocks: list[Block] = [Message(f"`{word_call(item['capability'])}`{of} {ended}.", kind), FactList(facts)]
    if item["state"] == "running":
        steps = [(Time(step["at"]), step["name"]) for step in item["steps"][-_LAST_STEPS:]]
        blocks.append(Table((Column("when"), Column("step", cut=True)), steps))
    if failure := item.get("failure"):
        blocks += output.make_failure(failure)
    return [*blocks, *(block for block in made if not isinstance(block, (FactList, Message)) or _warns(block))]


def _warns(block: Block) -> bool:
    return isinstance(block, Message) and block.kind == "warning"


def _measure_span(item: Mapping[str, Any]) -> Span | None:
    if not item.get("finishedAt"):
        return None
    began, ended = (datetime.fromisoformat(item[name]) for name in ("startedAt", "finishedAt"))
    return Span((ended - began).total_seconds() * 1000)


VIEWS = {
    "operations.cancel": show_one,
    "operations.get": show_one,
    "operations.list": show_list,
    "operations.wait": show_one,
}
