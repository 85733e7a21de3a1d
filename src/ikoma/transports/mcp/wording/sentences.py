"""Answers in words, for the hosts that show a model the text of an answer and not its fields.

The first line says what came out; the rest is what is needed to act, a line for each thing. It is no second copy of the
fields: what only programs need (ids of images, times in milliseconds) is left to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

Fields = Mapping[str, Any]

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


def make_first_line(capability: str, fields: Fields) -> str:
    """One sentence that says what came out; nothing where the fields say it as shortly."""
    if isinstance(fields.get("message"), str):
        return str(fields["message"])
    say = _SENTENCES.get(capability)
    return say(fields) if say else ""


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
            lines.append(f"{name}: {_short(_tool(value) if name == 'capability' else value)}")
    return lines


def list_plain(value: Any) -> str:
    """Text that others wrote, as lines: a text as it is, lists a line for each item."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(item if isinstance(item, str) else _record(item) for item in value)
    return "\n".join(outline(value)) if isinstance(value, dict) else _short(value)


def select_failed(value: Any) -> Any:
    """The lines of a checklist that did not pass: that the others did is the sum."""
    if isinstance(value, list) and any(isinstance(item, dict) and "passed" in item for item in value):
        return [{name: part for name, part in item.items() if name != "passed"} for item in value if not item["passed"]]
    return value


def draw_table(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """The first rows of a query, a line for each."""
    lines = [" | ".join(map(str, columns)), *(" | ".join(map(_short, row)) for row in rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines.append(f"… and {len(rows) - _MOST_ROWS} rows more: LIMIT and OFFSET show them.")
    return "\n".join(lines)


def list_following(fields: Fields, arguments: Collection[str] = ()) -> list[str]:
    """The next steps as lines: how to see the rest, and the next call, which stands in the fields too.

    Args:
        arguments: those that the tool takes.
    """
    more = [_describe_more(arguments)] if fields.get("truncated") else []
    return more + _next(fields.get("next"))


def _describe_more(arguments: Collection[str]) -> str:
    """Say which of a tool's own arguments show the rest."""
    larger = [f"a larger `{name}`" for name in _LARGER if name in arguments]
    narrower = [f"`{name}`" for name in _NARROWER if name in arguments]
    ways = [*larger, *(["an `offset`"] if "offset" in arguments else []), *narrower]
    if not ways:
        return "There is more than this shows."
    return f"There is more: {', '.join(ways[:-1])}{' or ' if ways[1:] else ''}{ways[-1]} shows it."


def _next(step: Any) -> list[str]:
    if isinstance(step, dict) and "tool" in step:
        return [f"Next: {step['tool']} {orjson.dumps(step.get('arguments') or {}).decode()}"]
    return [f"Next: {step}"] if step else []


def _record(item: Any) -> str:
    if not isinstance(item, dict):
        return _short(item)
    if "problem" in item:
        where = f"{item.get('file') or ''}:{item['line']}" if item.get("line") else item.get("file") or ""
        rule = f" (rule {item['rule']})" if item.get("rule") else ""
        return f"{where}: {item['problem']}{rule} Fix: {item.get('fix') or ''}"
    named = [str(item[name]) for name in _SHOWN_FIRST if item.get(name)]
    rest = [
        name if value is True else f"{name} {_short(_tool(value) if name == 'capability' else value)}"
        for name, value in item.items()
        if name not in _SHOWN_FIRST and name not in _FOR_PROGRAMS and value is not False and value not in _NOTHING
    ]
    return " · ".join([*named, *rest])


def _tool(capability: Any) -> str:
    """The capability as a model calls it."""
    return str(capability).replace(".", "_")


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        shown = ", ".join(value[:_MOST_NAMES])
        return shown if len(value) <= _MOST_NAMES else f"{shown} … ({len(value)} in all)"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or f'{one}s'}"


def _of(name: str, one: str, many: str = "") -> Callable[[Fields], str]:
    """Counts the items of a list."""
    return lambda fields: f"{_count(len(fields.get(name) or []), one, many)}."


def _app(fields: Fields) -> str:
    release = f" (release {fields['release']})" if fields.get("release") else ""
    where = f" at {', '.join(fields['urls'])}" if fields.get("urls") else ""
    return f"{fields.get('name', 'The app')} is {fields.get('health')}{release}{where}."


def _validation(fields: Fields) -> str:
    problems = _count(len(fields.get("errors") or []), "error")
    warnings = _count(len(fields.get("warnings") or []), "warning")
    return f"{'Valid' if fields.get('valid') else 'Not valid'}: {problems}, {warnings}."


def _verification(fields: Fields) -> str:
    return f"{'Verified' if fields.get('verified') else 'Not verified'}: {fields.get('summary')}"


def _operation(fields: Fields) -> str:
    about = f" of {fields['appName']}" if fields.get("appName") else ""
    state = "goes on" if fields.get("state") == "running" else fields.get("state")
    return f"{_tool(fields.get('capability'))}{about}: {state}."


def _release(fields: Fields) -> str:
    serves = ", and serves" if fields.get("current") else ""
    return f"Release {fields.get('id')} {fields.get('state')}{serves}."


def _database(fields: Fields) -> str:
    if not fields.get("exists"):
        return "There is no database."
    migrations = fields.get("migrations") or {}
    applied, pending = (len(migrations.get(name) or []) for name in ("applied", "pending"))
    tables = _count(len(fields.get("tables") or []), "table")
    return f"{tables}; {_count(applied, 'migration')} applied, {pending} pending."


def _restored(fields: Fields) -> str:
    if not fields.get("count"):
        return "All of it is so already."
    return f"Brought back {fields.get('path') or _count(fields['count'], 'path')}."


def _platform(fields: Fields) -> str:
    if fields.get("healthy"):
        return "Docker, PostgreSQL and the apps' folder are usable."
    away = [name for name, passed in fields["checks"].items() if not passed]
    return f"Not usable: {', '.join(away)}."


_SENTENCES: Mapping[str, Callable[[Fields], str]] = {
    "approvals.list": _of("approvals", "call"),
    "apps.health": _app,
    "apps.list": _of("apps", "app"),
    "apps.status": _app,
    "apps.validate": _validation,
    "apps.env.example": lambda _: "A .env file to start from:",
    "apps.logs": _of("lines", "line"),
    "apps.request": lambda fields: f"{fields.get('status')} {fields.get('url')}",
    "apps.run": lambda fields: f"Exit code {fields.get('exitCode')}.",
    "artifact.verify_release": _verification,
    "audit.query": _of("entries", "entry", "entries"),
    "db.backup": lambda fields: f"Backed up and proven by a restore: {fields.get('backupPath')}.",
    "db.status": _database,
    "db.query": lambda fields: _count(len(fields.get("rows") or []), "row") + ".",
    "db.create": lambda fields: f"The database {fields.get('name')} is there.",
    "deploy.plan": lambda fields: f"This can{'' if fields.get('valid') else 'not'} be done.",
    "domain.add": _of("domains", "domain"),
    "domain.list": _of("domains", "domain"),
    "env.history": _of("versions", "version"),
    "env.list": _of("names", "variable"),
    "env.restore": lambda fields: f"Brought back. The app has {', '.join(fields.get('names') or []) or 'no variable'}.",
    "env.set": lambda fields: f"Set. The app has {', '.join(fields.get('names') or [])}.",
    "env.unset": lambda fields: f"Unset. The app has {', '.join(fields.get('names') or []) or 'no variable'}.",
    "files.delete": lambda fields: f"Deleted {fields.get('path')}.",
    "files.edit": lambda fields: f"Edited {fields.get('path')}.",
    "files.history": _of("versions", "version"),
    "files.list": _of("entries", "entry", "entries"),
    "files.restore": _restored,
    "files.write": lambda fields: f"Wrote {fields.get('path')}.",
    "keys.list": _of("keys", "key"),
    "operations.cancel": _operation,
    "operations.get": _operation,
    "operations.list": _of("operations", "operation"),
    "operations.wait": _operation,
    "platform.check": _platform,
    "preview.list": _of("previews", "preview"),
    "release.list": _of("releases", "release"),
    "release.show": _release,
    "trash.list": _of("entries", "entry", "entries"),
}
