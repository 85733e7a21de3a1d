"""Arguments as real clients send them, brought to the form that the schema asks for.

Models and hosts write numbers, switches and lists as text, and fill in `null` or "" for what they leave out. Where the
schema allows only one meaning, that one is taken; all else goes on as it came, and validation says what is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_MOST = 2**53
"""From here on a number with a point no longer tells which whole number was meant."""
_WORD = re.compile(r"[^\s,;\[\]{}\"'`]+")
_SWITCHES = {"true": True, "false": False}
_KINDS = {"array": list, "object": dict}
_DEEPEST = 8


def convert_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the schema means them.

    Args:
        schema: the JSON schema of the request, an object; what it does not name is left as it is.
    """
    properties, needed = schema.get("properties", {}), schema.get("required", [])
    converted = {}
    for name, value in arguments.items():
        if name in properties and (value is None or (value == "" and name not in needed)):
            continue  # left out: of what is needed, the refusal says that it is missing
        converted[name] = _convert(schema, properties.get(name, {}), value)
    return converted


def _convert(schema: Mapping[str, Any], described: Mapping[str, Any], value: Any, depth: int = 0) -> Any:
    kind = _find_only_kind(schema, described)
    if kind is None or depth > _DEEPEST:
        return value
    value = _convert_one(kind, value)
    if isinstance(value, list) and isinstance(kind.get("items"), Mapping):
        return [_convert(schema, kind["items"], item, depth + 1) for item in value]
    if isinstance(value, dict) and kind.get("type") == "object":
        known, others = kind.get("properties", {}), kind.get("additionalProperties")
        others = others if isinstance(others, Mapping) else {}
        return {name: _convert(schema, known.get(name, others), item, depth + 1) for name, item in value.items()}
    return value


def _find_only_kind(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one thing that a value may be, besides null; None where it may be several."""
    kinds = [_resolve(schema, kind) for kind in _resolve(schema, described).get("anyOf", [described])]
    kinds = [kind for kind in kinds if kind.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else None


def _resolve(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    """A description with what its reference stands for."""
    name = str(described.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema.get("$defs", {}).get(name, described) if name else described
    return found


def _convert_one(kind: Mapping[str, Any], value: Any) -> Any:
    """A value as this kind; the value itself where it has no one meaning as that."""
    match kind.get("type"):
        case "integer" if isinstance(value, str | float):
            return _convert_whole(value)
        case "number" if isinstance(value, str):
            return float(value) if _NUMBER.fullmatch(value.strip()) else value
        case "boolean" if isinstance(value, str):
            return _SWITCHES.get(value.strip().lower(), value)
        case "string" if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case "string" if isinstance(value, str) and "enum" in kind:
            fitting = [item for item in kind["enum"] if str(item).lower() == value.strip().lower()]
            return fitting[0] if len(fitting) == 1 else value
        case "array" | "object" if isinstance(value, str):
            return _convert_structure(kind, value)
    return value


def _convert_whole(value: str | float) -> Any:
    """A whole number that was written as text, or with a point."""
    number: Any = value
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
    is_whole = math.isfinite(number) and number == int(number) and abs(number) < _MOST
    return int(number) if is_whole else value


def _convert_structure(kind: Mapping[str, Any], text: str) -> Any:
    """A list or an object that was written as JSON; a list of texts also where its only item came alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, _KINDS[kind["type"]]):
        return value
    is_item = kind["type"] == "array" and kind.get("items", {}).get("type") == "string"
    return [text.strip()] if is_item and _WORD.fullmatch(text.strip()) else text
