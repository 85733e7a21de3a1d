"""Source from git."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Raw


def placed(result: Mapping[str, Any]) -> Sequence[Block]:
    return [
        Message(f"{result['ref']} is in {result['into']}.", "good"),
        FactList([("commit", result["commit"]), ("repository", result["url"]), ("what was there", result.get("kept"))]),
        ItemList("files", result.get("entries") or []),
        ItemList("left out", result.get("left") or []),
    ]


def key(result: Mapping[str, Any]) -> Sequence[Block]:
    """The key alone on its line: it is copied from there."""
    said = "made" if result.get("created") else "the one it has"
    return [
        Message(f"The deploy key for {result['host']} ({said}); add it there as a read-only key:"),
        Raw(result["publicKey"]),
    ]


def token(result: Mapping[str, Any]) -> Sequence[Block]:
    return [Message("It is done.", "good"), FactList([("it has tokens for", result["hosts"] or "nothing")])]


VIEWS = {"source.checkout": placed, "source.clone": placed, "source.key": key, "source.token": token}
