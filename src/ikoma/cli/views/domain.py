"""Domains of an app: where each points, and its certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, Message
from ikoma.cli.views import ForCall, write_command
from ikoma.cli.words import State


def show_list(result: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Block]:
    """A few lines for each name: sentences fit no table of 80 columns."""
    blocks: list[Block] = [Message(result["message"], "good")] if result.get("message") else []
    for item in result["domains"]:
        if blocks:
            blocks.append(Message(""))
        blocks.append(_make_domain_facts(item))
    if not result["domains"]:
        add = write_command("domain.add", given)
        blocks.append(Message(f"It has no domains: `{add} DOMAIN` adds one."))
    return blocks


def _make_domain_facts(item: Mapping[str, Any]) -> FactList:
    return FactList(
        [
            ("domain", item["name"]),
            ("address", item.get("url") or State("not deployed yet")),
            ("kind", f"{item['kind']}, {'added' if item['source'] == 'added' else 'of the compose file'}"),
            ("DNS", item.get("pointing")),
            ("set there", item.get("record")),
            ("certificate", item.get("certificate")),
            ("trouble", item.get("trouble")),
        ]
    )


VIEWS = dict.fromkeys(("domain.add", "domain.list", "domain.remove"), ForCall(show_list))
