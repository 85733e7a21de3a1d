"""Sentences that say what an answer comes to: a capability says its own with `says` of `@listed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]
"""The fields of an answer, as they stand in JSON."""
Says = Callable[[Fields], str]


def count(number: int, one: str, many: str = "") -> str:
    """Word a number of things; by default `many` has an s more than `one`."""
    return f"{number} {one}" if number == 1 else f"{number} {many or f'{one}s'}"


def count_field(name: str, one: str, many: str = "") -> Says:
    """Make a sentence of the number of items in a field."""
    return lambda fields: f"{count(len(fields.get(name) or []), one, many)}."
