"""Editing an app's `.env`: one entry changes, every other byte stays, and Compose has read it back before it counts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv, variable_history
from ikoma.apps.environment.entries import parse_entries
from ikoma.apps.environment.variables import VariableReader, Variables
from ikoma.durable import write_file
from ikoma.errors import EnvUnreadable, Next, UnrepresentableValue, VariableMissing, VersionNotFound

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_HEADER = "# Environment of {app}: values are secrets; keep this file 0600.\n"


@dataclass(frozen=True, slots=True)
class ImportedVariables:
    """The result of replacing the file by another."""

    variables: Variables
    replaced: tuple[str, ...] = ()
    """Names whose former value is in the file no more: they have another one, or none."""
    former: str | None = None
    """The path of the kept file of before, on the server."""


class EnvFile:
    """The `.env` of one app. Callers hold the app's lock."""

    def __init__(self, app: App, reader: VariableReader) -> None:
        self._app = app
        self._reader = reader

    async def list_names(self) -> list[str]:
        """List names of the variables as Compose reads them, in the order of the file; none where there is no file."""
        text, now = await self._read_now()
        return _sort_names(text, now.require())

    async def put(self, name: str, value: str) -> list[str]:
        """Give a variable a value; the names that are there then.

        Raises:
            UnrepresentableValue: no file can hold it.
            EnvUnreadable: the file as it is cannot be read, and the new value is not what is wrong with it.
        """
        return await self.put_all({name: value})

    async def put_all(self, values: Mapping[str, str]) -> list[str]:
        """Give several variables values, all or none."""
        text, before = await self._read_now()
        changed = text = text or _HEADER.format(app=self._app.name)
        for name, value in values.items():
            changed = _replace_entry(changed, name, write_value(value), torn=bool(before.faults))
        after = await self._reader.read(self._app, changed.encode())
        if before.faults and after.faults:
            before.require()
        found = after.require()
        if any(found.get(name) != value for name, value in values.items()):
            raise UnrepresentableValue("Compose reads another value than the one that was given.")
        _check_others(text, before, after, {*values})
        return self._write(changed, after)

    async def remove(self, name: str) -> list[str]:
        """Take a variable out; the names that are left.

        Raises:
            VariableMissing: it is not there; with the nearest name.
        """
        text, before = await self._read_now()
        found = [entry for entry in parse_entries(text) if entry.name == name]
        if name not in before.require() or not found:
            near = difflib.get_close_matches(name, before.values, n=1)
            raise VariableMissing(f"{self._app.name} has no variable {name}.", guess=near[0] if near else None)
        changed = text
        for entry in reversed(found):
            begin = changed.rfind("\n", 0, entry.begin) + 1 if entry.alone else entry.begin
            changed = changed[:begin] + changed[entry.end :]
        after = await self._reader.read(self._app, changed.encode())
        after.require()
        _check_others(text, before, after, {name})
        return self._write(changed, after)

    async def replace(self, content: str) -> ImportedVariables:
        """Take a whole file in place of the one that is there, which is kept; all of it or nothing.

        Raises:
            EnvUnreadable: Compose cannot read it: with the line and the name, without a value.
        """
        after = await self._reader.read(self._app, content.encode())
        found = after.require_certain()
        if bad := dotenv.find_bad_names(found):
            line = next((entry.line for entry in parse_entries(content) if entry.name == bad[0]), 1)
            raise EnvUnreadable(f".env:{line}: The name in this line is no name of a variable.", hint=_NAMES)
        former = dotenv.read_bytes(self._app)
        before = await self._reader.read(self._app, former)
        kept = self._store(content)
        gone = tuple(name for name, value in before.values.items() if found.get(name) != value)
        return ImportedVariables(after, gone, str(kept) if former and former != content.encode() else None)

    async def restore(self, name: str | None, version: str | None) -> list[str]:
        """Bring back the value that a variable had in a kept file, or all of that file; the names that are there then.

        Args:
            name: None for the whole file.
            version: as `variable_history` names it; None is the newest in which the variable had another value.

        Raises:
            VersionNotFound: no such file is kept, or the variable had no value in it.
        """
        if version is None:
            known = variable_history.list_former(self._app, name)
            if not known:
                raise VersionNotFound(f"No former value of {name} is kept.", hint=_KEPT, next=_SHOWN)
            version = known[0].version
        content = variable_history.read(self._app, version)
        if name is None:
            return list((await self.replace(dotenv.decode(content))).variables.values)
        value = (await self._reader.read(self._app, content)).require().get(name)
        if value is None:
            raise VersionNotFound(f"{name} had no value then.", hint=_KEPT, next=_SHOWN)
        return await self.put(name, value)

    async def _read_now(self) -> tuple[str, Variables]:
        """Read the file's text, and what Compose reads in it; EnvUnreadable where it is not UTF-8."""
        content = dotenv.read_bytes(self._app)
        return dotenv.decode(content), await self._reader.read(self._app, content)

    def _write(self, text: str, read: Variables) -> list[str]:
        self._store(text)
        return _sort_names(text, read.values)

    def _store(self, content: str) -> Path | None:
        """Write the file; where the one of before is kept."""
        former = variable_history.keep(self._app, dotenv.read_bytes(self._app))
        variable_history.keep(self._app, content.encode())
        write_file(self._app.env_file, content, mode=0o600)
        return former


_SHOWN = (Next("env.history"),)
_KEPT = "env.history shows what is kept; it is kept for thirty days."
_NAMES = "Names are of letters, digits and _, and do not begin with a digit."


def write_value(value: str) -> str:
    """A value as Compose reads it; UnrepresentableValue where there is no such way."""
    if "\0" in value:
        raise UnrepresentableValue("The value holds a NUL character.")
    if _PLAIN.fullmatch(value):
        return value
    if not re.search(r"['\\\r]", value):
        return f"'{value}'"
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("$", "\\$")):
        value = value.replace(character, escape)
    return f'"{value}"'


def _replace_entry(text: str, name: str, form: str, *, torn: bool) -> str:
    """The text with another value for a variable.

    Args:
        torn: the text cannot be read, perhaps for want of a quote: no more than one line of it is the value's.
    """
    place = next((entry for entry in reversed(parse_entries(text)) if entry.name == name), None)
    if place is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{name}={form}\n"
    begin, end = place.value
    if torn and place.last_line > place.line:
        end = text.index("\n", begin)
    if not place.alone and _PLAIN.fullmatch(form):  # what follows would become a part of it
        form = f"'{form}'"
    if not place.has_value:
        form = f"={form}"
    return text[:begin] + form + text[end:]


def _check_others(text: str, before: Variables, after: Variables, changed: set[str]) -> None:
    """Raises EnvUnreadable where an edit would change what it is not about; where one names another it may."""
    if before.faults:
        return
    names = (before.values.keys() ^ after.values.keys()) - changed
    leans = {entry.name for entry in parse_entries(text) if "$" in entry.written}
    values = {name for name in before.values.keys() & after.values.keys() if before.values[name] != after.values[name]}
    if others := sorted(names | (values - changed - leans)):
        raise EnvUnreadable(
            f"The file is written so that this would change {others[0]} too.",
            hint=f"Write {others[0]} on a line of its own, its value in single quotes; env.import takes a whole file.",
        )


def _sort_names(text: str, values: Mapping[str, str]) -> list[str]:
    order = dict.fromkeys(entry.name for entry in parse_entries(text))
    return [*(name for name in order if name in values), *(name for name in values if name not in order)]
