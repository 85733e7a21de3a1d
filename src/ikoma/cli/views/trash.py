"""Removed apps that can be brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Column, Table
from ikoma.cli.words import Size, Time


def listing(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("id"),
        Column("app", cut=True),
        Column("removed"),
        Column("size", right=True),
        Column("holds", cut=True),
        Column("by", cut=True, spare=True),
    )
    rows = [
        (
            item["id"],
            item["app"],
            Time(item.get("removedAt")),
            Size(item["size"]),
            ", ".join(item["holds"]),
            item.get("caller"),
        )
        for item in result["entries"]
    ]
    return [Table(columns, rows, empty="The trash is empty.")]


VIEWS = {"trash.list": listing}
