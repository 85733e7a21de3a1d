"""The post-deployment checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, CheckList, Message
from ikoma.cli.words import word_label


def show_checks(result: Mapping[str, Any]) -> Sequence[Block]:
    rows = [
        (True if item["passed"] else False if item["required"] else None, _word_check(item), item["details"], "")
        for item in result["checks"]
    ]
    said = "The release is verified" if result["verified"] else "The release is not verified"
    return [Message(f"{said}: {result['summary']}", "good" if result["verified"] else "bad"), CheckList(rows)]


def _word_check(item: Mapping[str, Any]) -> str:
    name = word_label(item["name"])
    return name if item["required"] else f"{name} (optional)"


VIEWS = {"artifact.verify_release": show_checks}
