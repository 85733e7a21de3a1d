"""Editing an app's `.env`: one entry changes, every other byte stays.

Two parsers read the file, Compose's own and python-dotenv, and they differ in quotes and escapes. A value is written
in a form that both read back as it is; the few that have no such form are refused.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterator, Sequence

from dotenv.parser import Binding, parse_stream

from ikoma.apps.environment import read_text
from ikoma.apps.folder import App
from ikoma.durable import write_file
from ikoma.errors import UnrepresentableValue, VariableMissing

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_HEADER = "# Environment of {app}: values are secrets; keep this file 0600.\n"


def names(app: App) -> list[str]:
    """Names of the variables in the file, in its order; none where there is no file."""
    return list(dict.fromkeys(entry.key for entry in _entries(read_text(app)) if entry.key))


def put(app: App, name: str, value: str) -> list[str]:
    """Give a variable a value; the names that are there then.

    Raises:
        UnrepresentableValue: there is no way to write it that both parsers read alike.
    """
    line = f"{name}={written(value)}\n"
    entries = _entries(read_text(app) or _HEADER.format(app=app.name))
    place = max((number for number, entry in enumerate(entries) if entry.key == name), default=None)
    parts = [entry.original.string for entry in entries]
    if place is None:
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        parts.append(line)
    else:
        parts[place] = _lead(parts[place]) + line
    return _write(app, "".join(parts))


def remove(app: App, name: str) -> list[str]:
    """Take a variable out; the names that are left. VariableMissing, with the nearest name, where it is not there."""
    entries = _entries(read_text(app))
    if all(entry.key != name for entry in entries):
        near = difflib.get_close_matches(name, names(app), n=1)
        hint = f"Did you mean {near[0]}?" if near else None
        raise VariableMissing(f"{app.name} has no variable {name}.", hint=hint)
    return _write(
        app, "".join(_lead(entry.original.string) if entry.key == name else entry.original.string for entry in entries)
    )


def _write(app: App, text: str) -> list[str]:
    write_file(app.env_file, text, mode=0o600)
    return names(app)


def _entries(text: str) -> Sequence[Binding]:
    """Each entry with the text it stands in, comments and blank lines before it included."""
    return list(_parsed(text))


def _parsed(text: str) -> Iterator[Binding]:
    yield from parse_stream(io.StringIO(text, newline=""))


def _lead(original: str) -> str:
    """The blank lines that the parser counts to an entry; they are not part of it."""
    return original[: len(original) - len(original.lstrip("\r\n"))]


def written(value: str) -> str:
    """A value as both parsers read it; UnrepresentableValue where there is no such way."""
    if "\0" in value:
        raise UnrepresentableValue("The value holds a NUL character.")
    if _PLAIN.fullmatch(value):
        return value
    if "\r" not in value:
        if "'" not in value and "\\\\" not in value and not value.endswith("\\"):
            return f"'{value}'"
        if "\\" not in value:
            escaped = value.replace("'", "\\'")
            return f"'{escaped}'"
    if "$" not in value:
        for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
            value = value.replace(character, escape)
        return f'"{value}"'
    raise UnrepresentableValue(
        "The value mixes quotes or line ends with $ and backslashes as no .env file can hold them."
    )
