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

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,18}(\.[0-9]{1,18})?\s*")
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
        if value in (None, "") and name in properties and name not in needed:
            continue  # left out
        converted[name] = _convert(_resolve(schema, properties.get(name, {})), value)
    return converted


def _resolve(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    """A property with what its reference stands for."""
    name = str(described.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema.get("$defs", {}).get(name, described) if name else described
    return found


def _convert(described: Mapping[str, Any], value: Any, depth: int = 0) -> Any:
    kinds = [kind for kind in described.get("anyOf", [described]) if kind.get("type") != "null"]
    if len(kinds) != 1 or depth > _DEEPEST:
        return value  # more than one meaning
    kind = kinds[0]
    match kind.get("type"):
        case "integer" | "number" | "boolean" | "array" | "object" if isinstance(value, str):
            value = _read(kind["type"], value)
        case "integer" if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        case "string" if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
    if isinstance(value, list) and isinstance(kind.get("items"), dict):
        return [_convert(kind["items"], item, depth + 1) for item in value]
    return value


def _read(kind: str, text: str) -> Any:
    """A text as a value of this kind; the text itself where it is none."""
    if kind == "boolean":
        return _SWITCHES.get(text.strip().lower(), text)
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) else text
    if kind == "number":
        return float(text) if _NUMBER.fullmatch(text) else text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, _KINDS[kind]) else text
