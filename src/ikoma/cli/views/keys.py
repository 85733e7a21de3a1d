"""API keys: who may call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Table
from ikoma.cli.words import State, Time
from ikoma.kernel.page import Column


def listing(result: Mapping[str, Any]) -> Sequence[Block]:
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
            _reach(item),
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


def _reach(item: Mapping[str, Any]) -> str:
    parts = [", ".join(item.get("apps") or ()) or "all apps", ", ".join(item.get("capabilities") or ())]
    parts += ["reads only" if item.get("readOnly") else "", "needs approval" if item.get("needsApproval") else ""]
    return "; ".join(part for part in parts if part)


VIEWS = {"keys.list": listing}
