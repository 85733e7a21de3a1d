"""The list of tools, against what each host and each model's API refuses: one bad tool may hide the whole server.

`complaints` is the linter; each rule names who refuses and where that was read. It is tried on schemas that are wrong
in one way each, so that no rule can sleep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from ikoma import capabilities
from ikoma.transports.mcp import tools

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
SERVER = "ikoma"
LONGEST_WITH_SERVER = 60
"""Cursor filters out a tool whose name with its server's has more than 60 characters (ComposioHQ/composio#2788,
awslabs/mcp#1283). Claude's and OpenAI's APIs and VS Code take 64, with the prefix that the host puts before it
(microsoft/vscode#243602)."""
PREFIX = len("mcp__ikoma__")
LONGEST_NAME = 64
PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""Claude's API refuses other names of arguments (platform.claude.com, self-hosted sandboxes; composio#2330)."""
LONGEST_DESCRIPTION = 1024
"""OpenAI's API refuses longer ones of functions; VS Code passes them on."""
DEEPEST = 5
MOST_PROPERTIES = 100
"""OpenAI's structured outputs: at most 100 properties and five levels in one schema; its API counts both."""
MOST_ENUM = 500
MOST_TOOLS = 40
"""Cursor passes the first forty tools on, of all servers together; OpenAI and VS Code refuse more than 128 in one
request. So the default list stays under the lower, and all tools of an admin under the higher."""
MOST_TOOLS_AT_ALL = 128
KEYWORDS = {"type", "description", "properties", "required", "items", "enum", "default"}
"""Words that every one of them reads. Gemini's API answers 400 to a request for one keyword that it does not know:
`$ref`, `$defs`, `const`, `additionalProperties`, `propertyNames`, `$schema`, `not`, `oneOf`, `pattern`
(promptfoo/promptfoo#6902, thClaws/thClaws#172, taylorwilsdon/google_workspace_mcp#1099), and for a `format` that is
none of its few. Claude's refuses `$ref` everywhere, and unions on top (anthropics/claude-code#5973). OpenAI's strict
mode knows no `default`, which hosts take out."""
TYPES = {"string", "integer", "number", "boolean", "array", "object"}


def complaints(
    name: str, description: str | None, schemas: Sequence[Mapping[str, Any] | None], *, server: str = SERVER
) -> Iterator[str]:
    """List what some host would refuse of a tool."""
    if not NAME.fullmatch(name):
        yield "the name has characters that Claude, OpenAI or Gemini refuse; dots are among them"
    if len(server) + 1 + len(name) > LONGEST_WITH_SERVER:
        yield "the name is too long for Cursor"
    if PREFIX + len(name) > LONGEST_NAME:
        yield "the name is too long for Claude, OpenAI and VS Code"
    if not description or len(description) > LONGEST_DESCRIPTION:
        yield "the description is missing or too long for OpenAI"
    for schema in schemas:
        if schema is not None:
            yield from _of_schema(schema)
    for value in (schemas[0] or {}).get("properties", {}).values():
        if any(part.get("type") == "object" and not part.get("properties") for _, part in parts(value)):
            yield "Gemini refuses an argument that is an object without names (mcp-obsidian#21)"


def _of_schema(schema: Mapping[str, Any]) -> Iterator[str]:
    if schema.get("type") != "object":
        yield "the top is no object, which every API wants"
    every = list(parts(schema))
    if max(depth for depth, _ in every) > DEEPEST:
        yield "it is too deep for OpenAI"
    if sum(len(part.get("properties", {})) for _, part in every) > MOST_PROPERTIES:
        yield "it has too many properties for OpenAI"
    for _, part in every:
        yield from _of_part(part)


def _of_part(part: Mapping[str, Any]) -> Iterator[str]:
    if strange := part.keys() - KEYWORDS:
        yield f"Gemini refuses {', '.join(sorted(strange))}"
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        yield "its type is missing, a list or null: Gemini takes one of six words"
    if kind == "array" and not part.get("items", {}).get("type"):
        yield "VS Code refuses a list that does not say of what (microsoft/vscode#248810)"
    enum = part.get("enum", ["x"])
    if not all(isinstance(value, str) and value for value in enum) or (kind != "string" and "enum" in part):
        yield "Gemini takes enumerations of texts that are not empty"
    if len(enum) > MOST_ENUM:
        yield "OpenAI refuses so many values of an enumeration"
    if not set(part.get("required", [])) <= set(part.get("properties", {})):
        yield "it requires what it does not describe: Gemini refuses that"
    if not all(PROPERTY.fullmatch(name) for name in part.get("properties", {})):
        yield "Claude refuses the name of a property"


def parts(schema: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """A schema, and each schema inside it, with its depth."""
    yield depth, schema
    for inner in schema.get("properties", {}).values():
        yield from parts(inner, depth + 1)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from parts(schema[key], depth + 1)


def test_no_host_refuses_a_tool() -> None:
    for item in capabilities.load():
        tool = tools.make_tool(item)
        found = list(complaints(tool.name, tool.description, (tool.input_schema,)))
        assert not found, (tool.name, found)


def test_no_host_refuses_the_number_of_tools() -> None:
    every = list(capabilities.load())
    assert len(tools.choose(every, ())) <= MOST_TOOLS
    assert len(every) <= MOST_TOOLS_AT_ALL


def _with(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


DEEP: dict[str, Any] = {"type": "string"}
for _ in range(6):
    DEEP = _with(a=DEEP)

WRONG: Mapping[str, tuple[str, dict[str, Any]]] = {
    "no object": ("no object", {"type": "array", "items": {"type": "string"}}),
    "a union on top": ("anyOf", {"type": "object", "anyOf": [{"required": []}]}),
    "a union inside": ("anyOf", _with(a={"anyOf": [{"type": "string"}, {"type": "null"}]})),
    "oneOf": ("oneOf", _with(a={"type": "string", "oneOf": []})),
    "not": ("not", _with(a={"type": "string", "not": {}})),
    "a reference": (r"\$ref", _with(a={"$ref": "#/$defs/A"})),
    "definitions": (r"\$defs", {"type": "object", "$defs": {}}),
    "a constant": ("const", _with(a={"type": "string", "const": "x"})),
    "a pattern": ("pattern", _with(a={"type": "string", "pattern": "x"})),
    "a format": ("format", _with(a={"type": "string", "format": "uuid"})),
    "further properties": (
        "additionalProperties",
        _with(a={"type": "object", "additionalProperties": {"type": "string"}}),
    ),
    "a list of types": ("its type", _with(a={"type": ["string", "null"]})),
    "null": ("its type", _with(a={"type": "null"})),
    "no type": ("its type", _with(a={"description": "x"})),
    "a list of nothing": ("a list that", _with(a={"type": "array"})),
    "a list of anything": ("a list that", _with(a={"type": "array", "items": {}})),
    "numbers as an enumeration": ("enumerations", _with(a={"type": "integer", "enum": [1, 2]})),
    "an empty text": ("enumerations", _with(a={"type": "string", "enum": ["", "x"]})),
    "many values": ("so many values", _with(a={"type": "string", "enum": [f"v{n}" for n in range(501)]})),
    "required and not there": ("requires", {"type": "object", "required": ["a"]}),
    "an odd name": ("name of a property", _with(**{"a b": {"type": "string"}})),
    "a long name": ("name of a property", _with(**{"a" * 65: {"type": "string"}})),
    "too deep": ("too deep", DEEP),
    "too many": ("too many properties", _with(**{f"a{n}": {"type": "string"} for n in range(101)})),
}


def test_the_linter_sees_an_argument_without_a_form() -> None:
    assert list(complaints("a_b", "Does a.", (_with(a={"type": "object"}), None)))
    assert not list(complaints("a_b", "Does a.", (_with(), {"type": "object"})))


@pytest.mark.parametrize("what", WRONG)
def test_the_linter_sees_what_is_wrong_with_a_schema(what: str) -> None:
    complaint, schema = WRONG[what]
    for schemas in ((schema, None), (_with(), schema)):
        assert any(re.search(complaint, said) for said in complaints("a_b", "Does a.", schemas))
    assert not list(complaints("a_b", "Does a.", (_with(a={"type": "string"}), {"type": "object"})))


@pytest.mark.parametrize(
    ("name", "description"),
    [("a.b", "x"), ("a b", "x"), ("a" * 53, "x"), ("a" * 55, "x"), ("", "x"), ("ä", "x"), ("a", ""), ("a", "x" * 1025)],
)
def test_the_linter_sees_what_is_wrong_with_names_and_descriptions(name: str, description: str) -> None:
    assert list(complaints(name, description, (_with(), None)))
