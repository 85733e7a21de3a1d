"""Calls that wait for another key's consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, Message
from ikoma.cli.naming import word_call
from ikoma.cli.words import State, Time


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
    """Each whole: whoever consents must see all that would be lost."""
    blocks: list[Block] = []
    for item in result["approvals"]:
        if blocks:
            blocks.append(Message(""))
        blocks += show_one(item)
    return blocks or [Message("No call waits for consent.")]


def show_one(item: Mapping[str, Any]) -> Sequence[Block]:
    return [
        FactList(
            [
                ("approval", item["id"]),
                ("state", State(item["state"])),
                ("asked by", item["caller"]),
                ("for", word_call(item["capability"])),
                ("app", item.get("app")),
                ("what", item["summary"]),
                ("asked", Time(item["createdAt"])),
                ("ends", Time(item["expiresAt"]) if item["state"] == "pending" else None),
                ("decided by", item.get("decidedBy")),
                ("decided", Time(item.get("decidedAt"))),
            ]
        )
    ]


VIEWS = {"approvals.approve": show_one, "approvals.deny": show_one, "approvals.list": show_list}
