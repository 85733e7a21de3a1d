"""Tools, made of the registry's capabilities.

A tool's name is the capability's with `_` for `.`, because several hosts refuse dots and one refused name hides the
whole server. Schemas are cut down to what a model needs: it reads every one of them in every conversation. There are
none of results: no host shows them to a model, and several refuse unions, references and `null` in them, some of them
the whole list with it. The reference of the server has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from mcp_types import Tool, ToolAnnotations

from ikoma.kernel.access import controls
from ikoma.kernel.registry import Capability, registry
from ikoma.kernel.schemas import make_request_schema
from ikoma.model import Effect

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def make_tool_name(capability: str) -> str:
    return capability.replace(".", "_")


def map_names(capabilities: Iterable[Capability]) -> Mapping[str, str]:
    """The names that tools/call takes → the capability: a tool's name, and the capability's own."""
    found: dict[str, str] = {}
    for item in capabilities:
        for name in (make_tool_name(item.name), item.name):
            if found.setdefault(name, item.name) != item.name or not NAME.fullmatch(make_tool_name(item.name)):
                raise ValueError(f"{item.name} and {found[name]} cannot both be tools of their own name")
    return found


def make_tool(item: Capability) -> Tool:
    """The capability as a client lists it."""
    return Tool(
        name=make_tool_name(item.name),
        description=_make_description(item),
        input_schema=make_input_schema(item),
        annotations=make_annotations(item),
    )


def make_annotations(item: Capability) -> ToolAnnotations:
    """Annotations of a tool for hosts, as far as they are not what the protocol takes for granted.

    That is: it changes something, and destroys; a second call changes more; it reaches beyond this machine. Of what
    only reads, the protocol gives the second and third no meaning.
    """
    closed = None if item.open_world else False
    if item.effect is Effect.READS:
        return ToolAnnotations(read_only_hint=True, open_world_hint=closed)
    return ToolAnnotations(
        destructive_hint=None if item.effect is Effect.DESTROYS else False,
        idempotent_hint=item.idempotent or None,
        open_world_hint=closed,
    )


_OF_FORMS = (
    *("title", "pattern", "format", "examples", "minimum", "maximum", "additionalProperties"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)
"""Keywords that a refusal tells when they matter, and a model need not read before every call."""


_NEXT = re.compile(r" Next: [^.]*\.")
"""Sentence of a description on the next call: each answer says that itself, as it is then."""

_USE = re.compile(r" Use it [^.]*\.")
"""When to use it: to read costs nothing."""

_FIRST = re.compile(r"(?<=[.;]) .*")
"""Text after the first sentence: who sees a rare tool has chosen it, and its answers say the rest."""

_WITHOUT_WORDS = frozenset(
    {
        *("commit", "grep", "hours", "limit", "lockTimeout", "overlap", "rate", "reason", "ref", "seconds", "tail"),
        *("timeout", "token", "user"),
    }
)
"""Arguments whose name says all: the instructions have that times are in seconds."""


def name_as_tools(text: str) -> str:
    """Name capabilities in a text as a model calls them."""
    return _make_names_pattern(len(registry)).sub(lambda found: make_tool_name(found[0]), text)


@cache
def _make_names_pattern(_: int) -> re.Pattern[str]:
    """Finds the names of all capabilities that there are by now."""
    names = "|".join(sorted(map(re.escape, registry.list_names()), key=len, reverse=True))
    return re.compile(rf"(?<![\w.])(?:{names or '(?!)'})(?![\w])")


def _make_description(item: Capability) -> str:
    text = _NEXT.sub("", name_as_tools(" ".join(item.description.split())))
    if item.rare:
        return _FIRST.sub("", text).removesuffix(";")
    return _USE.sub("", text) if item.effect is Effect.READS else text


def make_input_schema(item: Capability) -> dict[str, Any]:
    """The arguments, and for what changes something the controls that go with every such call.

    That others are refused is not said in each of them: it is true of all, and the refusal names the nearest one.
    """
    schema = make_request_schema(item.request)
    needed = schema.get("required", [])
    properties = {
        # Of a rare tool, what may be left out is named alone: a refusal says the rest.
        name: _shorten_schema(value, has_words=name not in _WITHOUT_WORDS and (name in needed or not item.rare))
        for name, value in schema.get("properties", {}).items()
        if name not in item.listing.not_over_mcp
    }
    if model := controls.find_model(item):
        for name, value in make_request_schema(model)["properties"].items():
            properties[name] = {"type": _shorten_schema(value)["type"]}  # what they are for, the instructions say once
    compact: dict[str, Any] = {"type": "object", "properties": properties}
    if schema.get("required"):
        compact["required"] = schema["required"]
    if "$defs" in schema:
        compact["$defs"] = {name: _shorten_schema(value) for name, value in schema["$defs"].items()}
    return compact


def describe_arguments(item: Capability) -> str:
    """Say which arguments a tool takes, for a call that has others."""
    schema = make_input_schema(item)
    needed = schema.get("required", [])
    named = ", ".join(name if name in needed else f"{name}?" for name in schema["properties"])
    return f"{make_tool_name(item.name)} takes {named or 'nothing'}."


ALL = "all"
"""The toolset of every tool."""


def choose(tools: Sequence[Capability], toolsets: Sequence[str]) -> list[Capability]:
    """The capabilities of the chosen toolsets; those that most conversations need where none is chosen.

    The platform's own and operations stay. What is not listed can be called all the same.
    """
    return [item for item in tools if is_chosen(item, toolsets)]


def is_chosen(item: Capability, toolsets: Sequence[str]) -> bool:
    """Whether a client of these toolsets lists it, if its key may call it."""
    if item.listing.no_tool:
        return False
    if ALL in toolsets or item.toolset in (*toolsets, "platform", "operations"):
        return True
    return not (toolsets or item.rare)


def _shorten_schema(schema: Mapping[str, Any], *, has_words: bool = True) -> dict[str, Any]:
    """A property of the arguments; where `null` is only another way to leave it out, it is not offered."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1 and schema.get("default", "") is None:
        schema = {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
    bare: dict[str, Any] = _strip_schema(schema)
    if bare.get("type") == "object" and not bare.get("properties"):
        # Gemini refuses an object without names, and `additionalProperties`; a text that is JSON is taken as well.
        bare |= {"type": "string", "description": f"{bare.get('description', '')} A JSON object, as text.".strip()}
    if has_words and "description" in bare:
        return {**bare, "description": name_as_tools(bare["description"])}
    return {name: value for name, value in bare.items() if name != "description"}


def _strip_schema(schema: Any) -> Any:
    """The schema without what only a person or a form needs."""
    if isinstance(schema, list):
        return [_strip_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            bare[key] = {name: _strip_schema(item) for name, item in value.items()}
        elif not _is_for_forms(key, value):
            bare[key] = _strip_schema(value)
    return bare


def _is_for_forms(key: str, value: Any) -> bool:
    """Whether a model can do without: of values taken by default, it needs those that it might want otherwise."""
    return key in _OF_FORMS or (key == "default" and value is not True)
