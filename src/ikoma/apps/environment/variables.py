"""Variables as the real Compose reads them: there is no second parser, and so no second opinion.

Compose gets the bytes of a `.env`, and of any other file of variables, in a model that holds nothing else, in the same
closed room in which it reads compose files. What it says of them is remembered for as long as the bytes are the same.
Its own errors quote what they stumble over; the faults made here name file, line and variable, and never a value.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv, nesting
from ikoma.apps.environment.entries import DotenvEntry, find_too_deep, parse_entries
from ikoma.errors import EnvUnreadable
from ikoma.ports.runtime import Resolved, Runtime

ENV = ".env"
_MODEL, _FILE, _SERVICE = "ikoma-variables.json", "ikoma-variables.env", "variables"
_MOST_KNOWN = 500
_SINGLE_QUOTES = "Put the whole value in single quotes; a ' inside them is written \\'."
_NOT_SET = re.compile(r'The "(\w+)" variable is not set')
_DOLLAR = re.compile(r"(?<![\\$])(?:\$\$)*(?P<use>\$(?:\{(?P<braced>\w+)|(?P<bare>[A-Za-z_]\w*)))")
_REQUIRED = re.compile(r"required variable (\w+) is missing a value(?:: (.*?))?\.?\s*\Z", re.DOTALL)
_LIKE_AN_ENTRY = re.compile(r"^\s*(?:export\s+)?[A-Za-z_]\w*=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class VariableFault:
    """Something wrong, or doubtful, in a file of variables. It never quotes a value. `line` counts from 1."""

    file: str
    line: int | None
    name: str | None
    problem: str
    fix: str
    grave: bool = False
    """Whether nobody can mean it so, though Compose takes it."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables that one file sets; none where it has a fault."""

    values: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[VariableFault, ...] = ()
    doubts: tuple[VariableFault, ...] = ()
    """Entries that Compose reads without complaint and a person may have meant otherwise."""

    def require(self) -> Mapping[str, str]:
        """The values; EnvUnreadable with the line and the name of the first fault."""
        self._refuse(self.faults)
        return self.values

    def require_certain(self) -> Mapping[str, str]:
        """The values; EnvUnreadable also where one cannot be meant as Compose reads it."""
        self._refuse((*self.faults, *(doubt for doubt in self.doubts if doubt.grave)))
        return self.values

    def _refuse(self, faults: Sequence[VariableFault]) -> None:
        for fault in faults:
            raise EnvUnreadable(f"{fault.place}: {fault.problem}", hint=fault.fix)


class VariableReader:
    """Reads files of variables by Compose."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: OrderedDict[bytes, Variables] = OrderedDict()

    async def read_env(self, app: App) -> Variables:
        """Read what the app's .env sets now; nothing where there is none."""
        return await self.read(app, await asyncio.to_thread(dotenv.read_bytes, app))

    async def read(
        self, app: App, content: bytes, *, file: str = ENV, beside: bytes = b"", raw: bool = False
    ) -> Variables:
        """Read what a file of this content sets.

        Args:
            file: its name, for what is said of it.
            beside: the content of the app's .env, whose variables another file may name.
            raw: whether its values are taken as they are written.
        """
        key = _make_key(app, content, file, beside, raw)
        if (known := self._known.get(key)) is None:
            known = await self._read(app, _KnownFile(file, content, beside, raw))
            self._known[key] = known
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known

    def find_known(self, app: App, content: bytes) -> Variables | None:
        """Find what a .env of this content sets, where it was read before."""
        return self._known.get(_make_key(app, content, ENV, b"", False))

    async def substitute(self, app: App, texts: Sequence[str], content: bytes) -> dict[str, str]:
        """Fill the variables into texts that name them; no text is returned where Compose cannot say.

        Args:
            content: of the app's .env.
        """
        model = {"services": {_SERVICE: {"image": "x", "labels": {f"t{n}": text for n, text in enumerate(texts)}}}}
        resolved = await self._resolve(app, model, {ENV: content})
        if resolved.model is None:
            return {}
        labels = resolved.model["services"][_SERVICE].get("labels") or {}
        return {text: _unescape(labels[f"t{number}"]) for number, text in enumerate(texts)}

    async def _read(self, app: App, reading: _KnownFile) -> Variables:
        try:
            text = reading.content.decode()
        except UnicodeDecodeError as error:
            line = reading.content.count(b"\n", 0, error.start) + 1
            fault = VariableFault(reading.file, line, None, f"Line {line} is not UTF-8.", "Save the file as UTF-8.")
            return Variables(faults=(fault,))
        if "\0" in text:  # Compose takes it, and no container can start with it
            line = text.count("\n", 0, text.index("\0")) + 1
            fault = VariableFault(reading.file, line, None, f"Line {line} holds a NUL character.", "Take it out.")
            return Variables(faults=(fault,))
        if not reading.raw and (deep := find_too_deep(text)) is not None:
            return Variables(faults=(_describe_too_deep(reading.file, deep),))
        resolved = await self._resolve_alone(app, reading)
        if resolved.model is None:
            return Variables(faults=(await self._find_fault(app, reading, text, resolved.error or ""),))
        found = resolved.model["services"][_SERVICE].get("environment") or {}
        values = {name: _unescape(value or "") for name, value in found.items() if name}
        doubts = () if reading.raw else tuple(_find_doubts(reading.file, text, values, resolved.warnings))
        return Variables(values, doubts=doubts)

    async def _resolve_alone(self, app: App, reading: _KnownFile) -> Resolved:
        form = {"path": _FILE, **({"format": "raw"} if reading.raw else {})}
        model = {"services": {_SERVICE: {"image": "x", "env_file": [form]}}}
        return await self._resolve(app, model, {_FILE: reading.content, ENV: reading.beside})

    async def _resolve(self, app: App, model: Mapping[str, object], files: Mapping[str, bytes]) -> Resolved:
        return await self._runtime.resolve(app.name, app.path, [_MODEL], {_MODEL: orjson.dumps(model), **files})

    async def _find_fault(self, app: App, reading: _KnownFile, text: str, error: str) -> VariableFault:
        """The first entry that Compose cannot read, found by halves: it reads one after the other, from the top."""
        found = parse_entries(text)
        good, bad = 0, len(found)
        while good + 1 < bad:
            middle = (good + bad) // 2
            part = replace(reading, content=text[: found[middle - 1].end].encode())
            if (await self._resolve_alone(app, part)).model is None:
                bad = middle
            else:
                good = middle
        if not found or (bad == len(found) and "too large" in error.lower()):
            return VariableFault(
                reading.file, None, None, "Compose cannot read it.", "Write one NAME=value in each line."
            )
        return _describe_fault(reading.file, found, bad - 1, error)


@dataclass(frozen=True, slots=True)
class _KnownFile:
    file: str
    content: bytes
    beside: bytes
    raw: bool


def _describe_fault(file: str, found: Sequence[DotenvEntry], index: int, error: str) -> VariableFault:
    """Describe the fault of an entry that Compose cannot read, or of the one whose value it is a piece of."""
    entry = found[index]
    if (required := _REQUIRED.search(error)) and entry.is_proper:  # the words are for whoever reads this
        said = f": {required[2]}" if required[2] else ""
        problem = f"The value of {entry.name} requires the variable {required[1]}, which has no value{said}."
        place = "" if file == ENV else f"{ENV}, or "
        return VariableFault(file, entry.line, entry.name, problem, f"Set {required[1]} in {place}a line above it.")
    before = found[index - 1] if index else None
    if before is not None and not before.alone and before.last_line == entry.line and before.is_proper:
        problem = f"The value of {before.name} ends at a quote in line {before.last_line}, and more follows there."
        if before.last_line > before.line:
            problem = f"The value of {before.name} has no closing quote in its line."
        return VariableFault(file, before.line, before.name, problem, _SINGLE_QUOTES)
    if not entry.is_proper:
        problem = f"Line {entry.line} is no NAME=value."
        fix = "Write one NAME=value in each line; comments begin with #."
        if before is not None and before.is_proper:
            fix = f"If it belongs to the value of {before.name}, put that whole value in single quotes."
        return VariableFault(file, entry.line, None, problem, fix)
    if not entry.closed:
        problem = f"The value of {entry.name} has no closing quote."
    elif "$" in entry.written:
        problem = f"The value of {entry.name} holds a $ that begins a variable, and cannot be read so."
    else:
        problem = f"The value of {entry.name} cannot be read."
    return VariableFault(file, entry.line, entry.name, problem, _SINGLE_QUOTES)


def _describe_too_deep(file: str, entry: DotenvEntry) -> VariableFault:
    name = entry.name if entry.is_proper else None
    what = f"The value of {name}" if name else "It"
    problem = f"{what} holds variables in each other's defaults, too many levels deep."
    return VariableFault(file, entry.line, name, problem, nesting.FIX)


def _find_doubts(file: str, text: str, values: Mapping[str, str], warnings: Sequence[str]) -> list[VariableFault]:
    unset = set(_NOT_SET.findall("\n".join(warnings)))
    last = {entry.name: entry for entry in parse_entries(text) if entry.is_proper and entry.has_value}
    found = []
    for entry in last.values():
        uses = () if entry.is_literal else tuple(_DOLLAR.finditer(entry.written))
        gone = [use for use in uses if use["use"] not in values.get(entry.name, "")]
        if any(use["bare"] for use in gone):
            problem = f"The value of {entry.name} holds a $, and what follows it is read as a variable's name."
            fix = "If it is meant as it stands, put the value in single quotes; if a variable is meant, write ${NAME}."
            grave = any(use["bare"] in unset for use in gone)
            found.append(VariableFault(file, entry.line, entry.name, problem, fix, grave))
        elif any(use["braced"] in unset for use in gone):
            problem = f"The value of {entry.name} names a variable that is not set: it is blank there."
            fix = "Set that variable too; or, if no variable is meant, put the value in single quotes."
            found.append(VariableFault(file, entry.line, entry.name, problem, fix))
        if entry.last_line > entry.line and _LIKE_AN_ENTRY.search(entry.written, entry.written.find("\n")):
            problem = f"The value of {entry.name} goes on to line {entry.last_line}, over what looks like variables."
            found.append(
                VariableFault(file, entry.line, entry.name, problem, "If its closing quote was forgotten, write it.")
            )
    return found


def _unescape(value: str) -> str:
    """A value as a container gets it: in Compose's model `$` is `$$`."""
    return value.replace("$$", "$")


def _make_key(app: App, content: bytes, file: str, beside: bytes, raw: bool) -> bytes:
    digest = hashlib.sha256(f"{app.name}\0{file}\0{raw}\0{len(content)}\0".encode())
    digest.update(content)
    digest.update(beside)
    return digest.digest()
