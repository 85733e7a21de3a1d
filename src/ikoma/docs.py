"""Writes what is made of the registry, the policy's rules and the errors: `python -m ikoma.docs`.

That is docs/capabilities.md, docs/rules.md, docs/errors.md, the table of commands in docs/cli.md, and
cli/commands.json, which commands are made of.
A test fails when one of them is stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from ikoma import capabilities
from ikoma.apps.policy.rules import RULES
from ikoma.cli import capability_index, main
from ikoma.cli.catalogue import list_sections
from ikoma.durable import write_file
from ikoma.kernel.access import controls
from ikoma.kernel.registry import Capability, Registry
from ikoma.kernel.schemas import make_request_schema, make_result_schema
from ikoma.model import Effect
from ikoma.web import reference
from ikoma.web.reference import describe_consent, describe_error

_HEAD = """# Capabilities

Everything IKOMA can do. Each is called with `POST /execute/<capability>` and a JSON object, or on the command line with
`ikoma call <capability> --app APP --arg name=value`. A `?` marks an argument that may be left out.

This page is made from the registry by `make docs`.
"""


_RULES_HEAD = """# Rules of the policy

Rules that [compose files are held to](policy.md). Those that no admin can [waive](policy.md#waivers) say "never".

This page is made from the policy by `make docs`.
"""


_COMMANDS = re.compile(r"(\| task \| commands \|\n\| --- \| --- \|\n)(?:\|.*\n)*")
"""The table of all commands in docs/cli.md; the rest of that page is written by hand."""


_ERRORS_HEAD = """# Errors

What the `code` of a [failure](http.md) means. Each failure also has a `hint`, which says what to do.

This page is made from the errors by `make docs`.
"""


def make_capabilities_page(registry: Registry) -> str:
    """The whole page."""
    parts = [_HEAD, _make_table(registry)]
    for namespace, items in groupby(registry, key=lambda item: item.name.split(".", 1)[0]):
        parts.append(f"## {namespace}\n")
        parts += [_make_section(item) for item in items]
    return "\n".join(parts).rstrip() + "\n"


def make_rules_page() -> str:
    """The page of all rules."""
    rows = "\n".join(
        f"| `{name}` | {rule.danger} | {rule.instead} | {'' if rule.waivable else 'never'} |"
        for name, rule in RULES.items()
    )
    return f"{_RULES_HEAD}\n| rule | why | instead | waived |\n| --- | --- | --- | --- |\n{rows}\n"


def make_errors_page() -> str:
    """The page of all errors, by their HTTP status."""
    known = sorted(reference.list_errors().values(), key=lambda kind: (kind.status, kind.code))
    rows = "\n".join(f"| {kind.status} | `{kind.code}` | {describe_error(kind)} |" for kind in known)
    return f"{_ERRORS_HEAD}\n| status | code | meaning |\n| --- | --- | --- |\n{rows}\n"


def make_commands_page(page: str) -> str:
    """The page of the command line with its table of all commands made anew."""
    rows = ""
    for title, names in list_sections().items():
        usages = [f"`{usage}`" for name in names for usage in _list_usages(main, name)]
        rows += f"| {title.lower()} | {', '.join(usages)} |\n"
    return _COMMANDS.sub(lambda head: head[1] + rows, page)


def _list_usages(group: click.Group, name: str) -> Iterator[str]:
    """The words to type to call a command, or each command of a group: `logs APP [SERVICE]`."""
    context = click.Context(group)
    command = group.get_command(context, name)
    assert command is not None
    if not isinstance(command, click.Group) or command.invoke_without_command:
        places = [piece for item in command.params for piece in item.get_usage_pieces(context)]
        needed = [f"{item.opts[0]} {item.opts[0].strip('-').upper()}" for item in _list_needed_options(command)]
        yield " ".join([name, *places, *needed]).replace("|", r"\|")
    if isinstance(command, click.Group):
        yield from (
            f"{name} {usage}" for inner in command.list_commands(context) for usage in _list_usages(command, inner)
        )


def _list_needed_options(command: click.Command) -> list[click.Parameter]:
    return [item for item in command.params if isinstance(item, click.Option) and item.required]


def make_commands_file(registry: Registry) -> str:
    """Each capability as the command line knows it, one a line."""
    lines = [f"{json.dumps(item.name)}: {json.dumps(_describe_command(item), ensure_ascii=False)}" for item in registry]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _leave_examples_out(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A property without its examples: commands show none, and that of a time still to come is another each day."""
    kept = {name: value for name, value in schema.items() if name != "examples"}
    return kept | {"anyOf": [_leave_examples_out(part) for part in schema["anyOf"]]} if "anyOf" in schema else kept


def _describe_command(item: Capability) -> dict[str, Any]:
    request = controls.make_arguments_schema(item)
    return {
        "description": item.description,
        "changes": item.effect is not Effect.READS,
        "asks": item.loses is not None,
        "takes_away": item.takes_away,
        "properties": {
            name: _leave_examples_out(value) for name, value in request["properties"].items() if name != "confirmation"
        },
        "required": request.get("required", []),
        "sensitive": list(item.sensitive),
        "sentences": [list(path) for path in item.sentences],
        "rare": item.rare,
        "listing": _make_plain(item.listing),
        "page": _make_plain(page) if (page := getattr(item.result, "page", None)) else None,
    }


def _make_plain(described: Any) -> Any:
    """Plain data of what a capability says, without what is so by default."""
    if isinstance(described, tuple | list):
        return [_make_plain(item) for item in described]
    if not is_dataclass(described):
        return described
    values = {field.name: getattr(described, field.name) for field in fields(described)}
    return {name: _make_plain(value) for name, value in values.items() if value and not callable(value)}


def _make_table(registry: Registry) -> str:
    rows = "\n".join(
        f"| [{item.name}](#{item.name.replace('.', '')}) | {item.role} | {item.effect.value} | {item.summary} |"
        for item in registry
    )
    return f"| capability | role | effect | what it does |\n| --- | --- | --- | --- |\n{rows}\n"


def _make_section(item: Capability) -> str:
    request = make_request_schema(item.request)
    needed = request.get("required", [])
    rows = "\n".join(
        f"| `{name}{'' if name in needed else '?'}` | {_name_kind(value)} | {_write_default(value)} |"
        for name, value in request.get("properties", {}).items()
    )
    arguments = f"| argument | type | default |\n| --- | --- | --- |\n{rows}\n" if rows else "It takes no arguments.\n"
    return (
        f"### {item.name}\n\n{item.description}\n\nRole: **{item.role}**. Effect: **{item.effect.value}**."
        f"{describe_consent(item)}\n\n"
        f"{arguments}\n{_describe_controls(item)}Result: {_describe_result(item)}\n"
    )


def _describe_controls(item: Capability) -> str:
    """The controls that everything that changes something takes besides its arguments."""
    model = controls.find_model(item)
    names = [f"`{field.alias}?`" for field in model.model_fields.values()] if model else []
    return f"And {', '.join(names)}: [long calls](http.md#long-calls).\n\n" if names else ""


def _name_kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    return " or ".join(part.get("type", "object") for part in kinds)


def _write_default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _describe_result(item: Capability) -> str:
    schema = make_result_schema(item.result_adapter)
    names = schema.get("properties")
    return ", ".join(f"`{name}`" for name in names) if names else "text"


if __name__ == "__main__":
    known = capabilities.load()
    folder = Path(sys.argv[1] if sys.argv[1:] else "docs")
    write_file(folder / "capabilities.md", make_capabilities_page(known))
    write_file(folder / "rules.md", make_rules_page())
    write_file(folder / "errors.md", make_errors_page())
    write_file(capability_index.FILE, make_commands_file(known))
    write_file(folder / "cli.md", make_commands_page(Path("docs/cli.md").read_text()))
