"""Answers in words, for the hosts that show a model the text of an answer and not its fields.

The first line says what came out; the rest is what is needed to act, a line for each thing. It is no second copy of the
fields: what only programs need (ids of images, times in milliseconds) is left to them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from ikoma.kernel.sentences import Fields, Says

_LARGER = ("limit", "tail")
_NARROWER = ("since", "until", "grep", "service", "path", "capability", "caller", "result")
"""Arguments that make an answer longer, and that choose a part of it."""
_MOST_LINES = 50
_MOST_ROWS = 20
_MOST_NAMES = 200
_NOTHING: Sequence[Any] = (None, "", [], {})
_LONGEST = 300
"""Characters of one value in a line."""
_FOR_PROGRAMS = frozenset(
    {"success", "message", "next", "truncated", "types", "rowCount"}
    | {"image", "container", "createdAt", "downtimeMs", "drainMs", "place", "modified"}
    | {"requestId", "seq", "prev", "duration"}
)
_SHOWN_FIRST = ("id", "name", "version", "path", "domain", "preview")


def make_first_line(says: Says | None, fields: Fields) -> str:
    """One sentence that says what came out; nothing where the fields say it as shortly."""
    if isinstance(fields.get("message"), str):
        return str(fields["message"])
    return says(fields) if says else ""


def outline(fields: Fields, not_in_text: Collection[str] = ()) -> list[str]:
    """The fields as lines: a name and a value, or a name and a line for each item.

    Args:
        not_in_text: fields that need no line.
    """
    lines: list[str] = []
    left_out = _FOR_PROGRAMS.union(not_in_text)
    for name, value in fields.items():
        if name in left_out or value in _NOTHING:
            continue
        if isinstance(value, dict) and name in ("details", "result"):
            lines += outline(value)
        elif isinstance(value, str) and "\n" in value:  # a document: it is whole, or it is none
            lines.append(value)
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            lines.append(f"{name}:")
            lines += [f"- {_record(item)}" for item in value[:_MOST_LINES]]
            if len(value) > _MOST_LINES:
                lines.append(f"- … and {len(value) - _MOST_LINES} more: narrow the question to see them.")
        elif isinstance(value, dict):
            lines += [f"{name}.{key}: {_record(item)}" for key, item in value.items() if item not in _NOTHING]
        else:
            lines.append(f"{name}: {_shorten(_name_tool(value) if name == 'capability' else value)}")
    return lines


def list_plain(value: Any) -> str:
    """Text that others wrote, as lines: a text as it is, lists a line for each item."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(item if isinstance(item, str) else _record(item) for item in value)
    return "\n".join(outline(value)) if isinstance(value, dict) else _shorten(value)


def select_failed(value: Any) -> Any:
    """The lines of a checklist that did not pass: that the others did is the sum."""
    if isinstance(value, list) and any(isinstance(item, dict) and "passed" in item for item in value):
        return [{name: part for name, part in item.items() if name != "passed"} for item in value if not item["passed"]]
    return value


def draw_table(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """The first rows of a query, a line for each."""
    lines = [" | ".join(map(str, columns)), *(" | ".join(map(_shorten, row)) for row in rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines.append(f"… and {len(rows) - _MOST_ROWS} rows more: LIMIT and OFFSET show them.")
    return "\n".join(lines)


def list_following(fields: Fields, arguments: Collection[str] = ()) -> list[str]:
    """The next steps as lines: how to see the rest, and the next call, which stands in the fields too.

    Args:
        arguments: those that the tool takes.
    """
    more = [_describe_more(arguments)] if fields.get("truncated") else []
    return more + _word_next(fields.get("next"))


def _describe_more(arguments: Collection[str]) -> str:
    """Say which of a tool's own arguments show the rest."""
    larger = [f"a larger `{name}`" for name in _LARGER if name in arguments]
    narrower = [f"`{name}`" for name in _NARROWER if name in arguments]
    ways = [*larger, *(["an `offset`"] if "offset" in arguments else []), *narrower]
    if not ways:
        return "There is more than this shows."
    return f"There is more: {', '.join(ways[:-1])}{' or ' if ways[1:] else ''}{ways[-1]} shows it."


def _word_next(step: Any) -> list[str]:
    if isinstance(step, dict) and "tool" in step:
        return [f"Next: {step['tool']} {orjson.dumps(step.get('arguments') or {}).decode()}"]
    return [f"Next: {step}"] if step else []


def _record(item: Any) -> str:
    if not isinstance(item, dict):
        return _shorten(item)
    if "problem" in item:
        where = f"{item.get('file') or ''}:{item['line']}" if item.get("line") else item.get("file") or ""
        rule = f" (rule {item['rule']})" if item.get("rule") else ""
        return f"{where}: {item['problem']}{rule} Fix: {item.get('fix') or ''}"
    named = [str(item[name]) for name in _SHOWN_FIRST if item.get(name)]
    rest = [
        name if value is True else f"{name} {_shorten(_name_tool(value) if name == 'capability' else value)}"
        for name, value in item.items()
        if name not in _SHOWN_FIRST and name not in _FOR_PROGRAMS and value is not False and value not in _NOTHING
    ]
    return " · ".join([*named, *rest])


def _name_tool(capability: Any) -> str:
    """The capability as a model calls it."""
    return str(capability).replace(".", "_")


def _shorten(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        shown = ", ".join(value[:_MOST_NAMES])
        return shown if len(value) <= _MOST_NAMES else f"{shown} … ({len(value)} in all)"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
