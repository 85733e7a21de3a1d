"""Names of an app's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Table
from ikoma.kernel.page import Column


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
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


def show_imported(result: Mapping[str, Any]) -> Sequence[Block]:
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
    "env.import": show_imported,
    "env.list": show_list,
}
