"""Previews of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Column, Table
from ikoma.cli.views import ForCall, address, command
from ikoma.cli.words import State, Time


def listing(result: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("preview"),
        Column("ref", cut=True),
        Column("health"),
        Column("ends"),
        Column("address"),
        Column("by", cut=True, spare=True),
    )
    rows = [
        (
            item["preview"],
            item["ref"],
            State(item["health"]),
            Time(item["expiresAt"]),
            address(item.get("urls")),
            item["caller"],
        )
        for item in result["previews"]
    ]
    preview = command("deploy.preview", given)
    return [Table(columns, rows, empty=f"It has no previews: `{preview} REF` makes one.")]


VIEWS = {"preview.list": ForCall(listing)}
