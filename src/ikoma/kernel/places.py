"""Places in JSON: where in an answer something stands, and how it is changed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Path = tuple[str, ...]
"""Where something stands in JSON: names of fields, and `*` for each item of a list or mapping."""


def applied(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """JSON-ready facts with what stands at a path changed."""
    if not path:
        return change(value)
    if path[0] == "*":
        if isinstance(value, dict):
            return {name: applied(item, path[1:], change) for name, item in value.items()}
        return [applied(item, path[1:], change) for item in value] if isinstance(value, list) else value
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: applied(value[path[0]], path[1:], change)}
    return value
