"""The server: what it stands on, and what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, CheckList, FactList, Message
from ikoma.cli.words import Phrase, Size, Span, guess, word_label

_NAMES = {"docker": "Docker", "postgres": "PostgreSQL", "appsRoot": "apps' folder", "proxy": "proxy"}


def show_checks(result: Mapping[str, Any]) -> Sequence[Block]:
    rows = []
    for name, facts in result["details"].items():
        well = result["checks"].get(name, None if facts.get("error") else True)
        rows.append((well, _NAMES.get(name, word_label(name)), _word_checks(facts), facts.get("hint") or ""))
    said = "All that IKOMA stands on is there." if result["healthy"] else "Something that IKOMA stands on is away."
    return [Message(said, "good" if result["healthy"] else "bad"), CheckList(rows)]


def show_info(result: Mapping[str, Any]) -> Sequence[Block]:
    limits = result.get("limits") or {}
    known = ("bodyBytes", "sqlBodyBytes", "requestsPerWindow", "windowMs")
    return [
        FactList(
            [
                ("version", result["version"]),
                ("up for", Span(result["uptime"] * 1000)),
                ("requests", limits.get("requestsPerWindow")),
                ("in each", Span(limits.get("windowMs"))),
                ("largest body", Size(limits.get("bodyBytes"))),
                ("with SQL", Size(limits.get("sqlBodyBytes"))),
                *((word_label(name), guess(name, value)) for name, value in limits.items() if name not in known),
                ("capabilities", f"{len(result['capabilities'])}; `ikoma call --help`, docs/capabilities.md"),
            ]
        )
    ]


def _word_checks(facts: Mapping[str, Any]) -> Any:
    if facts.get("error"):
        return str(facts["error"])
    if "freeBytes" in facts:
        return [facts["path"], Phrase((Size(facts["freeBytes"]), "free"))]
    told = {name: _list_names(value) if isinstance(value, dict) else value for name, value in facts.items()}
    return [
        value if name in ("version", "path", "state") else Phrase((word_label(name), guess(name, value)))
        for name, value in told.items()
        if value not in (None, "", [], {})
    ]


def _list_names(values: Mapping[str, Any]) -> list[Any]:
    """Names that hold, or each name with its value."""
    return [name if value is True else Phrase((name, value)) for name, value in values.items() if value]


VIEWS = {"platform.check": show_checks, "platform.info": show_info}
