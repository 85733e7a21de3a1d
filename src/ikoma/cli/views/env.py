"""Names of an app's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, Column, FactList, ItemList, Message, Raw, Table
from ikoma.cli.words import Time


def listing(result: Mapping[str, Any]) -> Sequence[Block]:
    """One a line, each with the services that get it."""
    services = result.get("services") or {}
    names = list(dict.fromkeys([*result["names"], *(name for taken in services.values() for name in taken)]))
    rows = [
        (
            name,
            ", ".join(service for service, taken in services.items() if name in taken),
            "" if name in result["names"] else "compose file",
        )
        for name in names
    ]
    columns = (Column("variable"), Column("given to", cut=True), Column("only in"))
    return [Table(columns, rows, empty="It has no variables.")]


def history(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (Column("version"), Column("replaced"), Column("variables", cut=True))
    rows = [(item["version"], Time(item["until"]), item["names"]) for item in result["versions"]]
    return [Table(columns, rows, empty="No value was changed in the last 30 days.")]


def names(result: Mapping[str, Any]) -> Sequence[Block]:
    return [Message("It is done; the next deploy takes it.", "good"), Raw("\n".join(result["names"]))]


def imported(result: Mapping[str, Any]) -> Sequence[Block]:
    return [
        Message("The variables are taken; the next deploy uses them.", "good"),
        FactList(
            [
                ("variables", result["names"]),
                ("replaced", result.get("replaced")),
                ("former file", result.get("former")),
            ]
        ),
        ItemList("", result.get("warnings") or [], "warning"),
    ]


VIEWS = {
    "env.generate": names,
    "env.history": history,
    "env.import": imported,
    "env.list": listing,
    "env.restore": names,
    "env.set": names,
    "env.unset": names,
}
