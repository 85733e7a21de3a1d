"""API keys: who may call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Table
from ikoma.cli.words import State, Time
from ikoma.kernel.page import Column


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("id"),
        Column("name", cut=True),
        Column("role"),
        Column("state"),
        Column("used"),
        Column("reaches", cut=True),
        Column("ends", spare=True),
        Column("made", spare=True),
    )
    rows = [
        (
            item["id"],
            item["name"],
            item["role"],
            State("revoked" if item.get("revokedAt") else "valid"),
            Time(item.get("lastUsedAt")),
            item["reaches"],
            Time(item.get("expiresAt")),
            Time(item["createdAt"]),
        )
        for item in result["keys"]
    ]
    return [
        Table(
            columns,
            rows,
            empty="There is no key but the admin key of the settings: `ikoma keys create NAME --role ROLE`.",
        )
    ]


VIEWS = {"keys.list": show_list}
