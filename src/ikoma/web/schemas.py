"""Describes JSON schemas in words, for people: what an argument takes, and what an answer holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_DEEPEST = 3
_LONGEST_PATTERN = 60

_USUAL = {
    "role": "observer",
    "url": "https://github.com/you/shop",
    "service": "web",
    "operationId": "ID",
    "sql": "SELECT 1",
    "reason": "why",
}
"""Values of arguments that say no example themselves."""

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One argument, or one part of an answer."""

    name: str
    kind: str
    bounds: str = ""
    default: str = ""
    about: str = ""
    required: bool = True


def list_arguments(schema: Schema) -> list[Field]:
    """The arguments that a request takes, those that must be given first."""
    required = schema.get("required", ())
    found = [
        Field(
            name,
            _name_kind(item, schema),
            _describe_bounds(item, schema),
            json.dumps(item["default"], ensure_ascii=False) if item.get("default") not in (None, "") else "",
            _describe_about(item, schema),
            name in required,
        )
        for name, item in schema.get("properties", {}).items()
    ]
    return sorted(found, key=lambda field: not field.required)


def list_parts(schema: Schema) -> list[Field]:
    """The parts of an answer, with those of objects inside it under their paths; nothing where it is a text."""
    return list(_walk_parts(schema, schema, "", _DEEPEST))


def make_example(name: str, schema: Schema, whole: Schema) -> Any:
    """A value that an argument takes."""
    resolved = _resolve_reference(schema, whole)
    if resolved.get("examples"):
        return resolved["examples"][0]
    if "enum" in resolved:
        return resolved["enum"][0]
    if resolved.get("default") is not None:
        return resolved["default"]
    if name in _USUAL:
        return _USUAL[name]
    of_kind = {"integer": max(1, resolved.get("minimum", 1)), "number": 1, "boolean": True, "array": [], "object": {}}
    return of_kind.get(str(resolved.get("type")), name.upper())


def _walk_parts(schema: Schema, whole: Schema, above: str, depth: int) -> Iterator[Field]:
    for name, item in _resolve_reference(schema, whole).get("properties", {}).items():
        yield Field(f"{above}{name}", _name_kind(item, whole), about=_describe_about(item, whole))
        if depth > 1:
            inside = _resolve_reference(item, whole)
            if inside.get("type") == "array":
                yield from _walk_parts(inside.get("items", {}), whole, f"{above}{name}[].", depth - 1)
            else:
                yield from _walk_parts(inside, whole, f"{above}{name}.", depth - 1)


def _resolve_reference(schema: Schema, whole: Schema) -> Schema:
    """The schema itself where it only points at one, or lets it be left out."""
    choices = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    if len(choices) == 1:
        return _resolve_reference({**{key: schema[key] for key in schema if key != "anyOf"}, **choices[0]}, whole)
    if "$ref" in schema:
        return _resolve_reference(whole.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {}), whole)
    return schema


def _name_kind(schema: Schema, whole: Schema) -> str:
    item = _resolve_reference(schema, whole)
    if "anyOf" in item:
        return " or ".join(
            dict.fromkeys(_name_kind(choice, whole) for choice in item["anyOf"] if choice.get("type") != "null")
        )
    if "enum" in item:
        return "one of " + ", ".join(map(str, item["enum"]))
    if "const" in item:
        return json.dumps(item["const"])
    if item.get("type") == "array":
        return f"list of {_name_kind(item.get('items', {}), whole)}"
    if item.get("type") == "object" and isinstance(item.get("additionalProperties"), Mapping):
        return f"{_name_kind(item['additionalProperties'], whole)} by name"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "nothing"}
    kind = str(item.get("type", "any value"))
    return "time (ISO 8601)" if item.get("format") == "date-time" else words.get(kind, kind)


def _describe_bounds(schema: Schema, whole: Schema) -> str:
    item = _resolve_reference(schema, whole)
    said = [
        _word_between(item.get("minimum"), item.get("maximum"), ""),
        _word_between(item.get("minLength"), item.get("maxLength"), " characters"),
        _word_between(item.get("minItems"), item.get("maxItems"), " items"),
    ]
    if "pattern" in item and not item.get("examples") and len(item["pattern"]) <= _LONGEST_PATTERN:
        said.append(item["pattern"])
    if item.get("examples"):
        said.append(f"such as {item['examples'][0]}")
    return "; ".join(filter(None, said))


def _word_between(least: Any, most: Any, unit: str) -> str:
    if most is None:
        return "" if least is None else f"at least {least:,}{unit}"
    return f"at most {most:,}{unit}" if not least else f"{least:,} to {most:,}{unit}"


def _describe_about(schema: Schema, whole: Schema) -> str:
    """The description of this use of a type; of the type itself where nothing is said."""
    return str(schema.get("description") or _resolve_reference(schema, whole).get("description") or "")
