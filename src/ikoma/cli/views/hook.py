"""Webhooks: whether pushes deploy an app, and what came of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, Message, Table
from ikoma.cli.columns import join_lines
from ikoma.cli.views import ForCall, write_command
from ikoma.cli.words import State, Time, word_count
from ikoma.kernel.page import Column

_LAST = 10


def show_hook(result: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Block]:
    if not result["exists"]:
        create = write_command("hook.create", given)
        return [Message(f"No pushes deploy it: `{create}` makes a webhook.")]
    refused = word_count(result["refused"], "delivery").replace("deliverys", "deliveries")
    facts = FactList(
        [
            ("branch", result.get("branch")),
            ("made", Time(result.get("createdAt"))),
            ("statuses", "told to the git host" if result.get("statuses") else None),
            ("refused", f"{refused} without a right signature" if result.get("refused") else None),
        ]
    )
    columns = (
        Column("when"),
        Column("host"),
        Column("ref", cut=True),
        Column("commit"),
        Column("came to"),
        Column("why", cut=True),
    )
    rows = [
        (
            Time(item["at"]),
            item["host"],
            item.get("ref"),
            (item.get("commit") or "")[:8],
            State(_word_outcome(item)),
            join_lines(item.get("reason")),
        )
        for item in result["deliveries"][:_LAST]
    ]
    return [facts, Table(columns, rows, title="last pushes" if rows else "", empty="No push has come yet.")]


def _word_outcome(item: Mapping[str, Any]) -> str:
    return str(item.get("state") or ("deployed" if item.get("deployed") else "nothing to do"))


VIEWS = {"hook.show": ForCall(show_hook)}
