"""API keys: who may call, and a new one, which is shown this once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Column, FactList, Message, Table
from ikoma.cli.words import State, Time

_SHOWN_ONCE = Message("The key is shown this once, and kept nowhere: copy it now.", "warning")


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


def created(result: Mapping[str, Any]) -> Sequence[Block]:
    facts = [("ID", result["id"]), ("name", result["name"]), ("role", result.get("role")), ("key", result["key"])]
    return [
        Message(f"A key for {result['name']} is made.", "good"),
        FactList(facts),
        _SHOWN_ONCE,
    ]


def rotated(result: Mapping[str, Any]) -> Sequence[Block]:
    return [
        Message(f"{result['name']} has a new key.", "good"),
        FactList([("ID", result["id"]), ("key", result["key"]), ("the former ends", Time(result["previousUntil"]))]),
        _SHOWN_ONCE,
    ]


def _reach(item: Mapping[str, Any]) -> str:
    parts = [", ".join(item.get("apps") or ()) or "all apps", ", ".join(item.get("capabilities") or ())]
    parts += ["reads only" if item.get("readOnly") else "", "needs approval" if item.get("needsApproval") else ""]
    return "; ".join(part for part in parts if part)


VIEWS = {"keys.create": created, "keys.list": listing, "keys.rotate": rotated}
