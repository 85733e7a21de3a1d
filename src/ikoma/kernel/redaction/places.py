"""Places in JSON: where in an answer something stands, and how it is changed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str, ...]
"""Where something stands in JSON: names of fields, and `*` for each item of a list or mapping."""


def change_at(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """JSON-ready facts with what stands at a path changed."""
    if not path:
        return change(value)
    if path[0] == "*":
        if isinstance(value, dict):
            return {name: change_at(item, path[1:], change) for name, item in value.items()}
        return [change_at(item, path[1:], change) for item in value] if isinstance(value, list) else value
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: change_at(value[path[0]], path[1:], change)}
    return value


def find_at(value: Any, path: Path) -> Iterator[Any]:
    """The values at a path in JSON-ready facts: nothing, one thing, or one for each item."""
    if not path:
        yield value
    elif path[0] == "*":
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from find_at(item, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from find_at(value[path[0]], path[1:])
