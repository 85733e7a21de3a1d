"""What a Dockerfile builds on: every image it names, and what it fetches with the engine's own network.

It is read more broadly than an engine reads it: each line by itself, and joined with the next one in both ways that
lines can be joined. What may be an instruction counts as one.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping

_FROM = re.compile(r"\s*(?:ONBUILD\s+)?FROM\s+((?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_SYNTAX = re.compile(r"\s*#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_ARG = re.compile(r"\s*ARG\s+(.+)$", re.IGNORECASE)
_PAIR = re.compile(r"([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)")
_TAKES = re.compile(r"\s*(?:ONBUILD\s+)?(COPY|ADD|RUN)\s(.*)$", re.IGNORECASE)
_TAKEN_FROM = re.compile(r"(?:--from=|[, \"]from=)([^\s,\"]+)")
_FETCHED = re.compile(r"(?:^|[\s\"\[,])(https?://|ftp://|git@|git://|ssh://)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}$]*))?\}|([A-Za-z_]\w*))")
_RIGHTS = re.compile(r"--(security=insecure|network=host)")
_MOST_CHOICES = 50

_Values = dict[str, set[str]]

Problem = tuple[str, int, str, str | None]
"""(rule, line, what, image to be checked as any other)."""


def problems(text: str, args: Mapping[str, str]) -> Iterator[Problem]:
    """What is to be checked or refused.

    Args:
        args: the build's own arguments.
    """
    candidates = list(_candidates(text))
    values = _values(candidates, args)
    stages = {found[3].lower() for _, line in candidates if (found := _FROM.match(line)) and found[3]}
    seen: set[tuple[str, str]] = set()
    for number, line in candidates:
        for rule, what, image in _of_line(line, values, stages):
            if (what, image or "") not in seen:
                seen.add((what, image or ""))
                yield rule, number, what, image


def _of_line(line: str, values: _Values, stages: set[str]) -> Iterator[tuple[str, str, str | None]]:
    if found := _SYNTAX.match(line):
        yield from _image(found[1], values, set())
    if found := _FROM.match(line):
        yield from _image(found[2], values, stages)
    takes = _TAKES.match(line)
    if takes is None:
        return
    if takes[1].upper() != "RUN" or "--mount" in takes[2]:
        for name in _TAKEN_FROM.findall(takes[2]):
            if not name.isdigit():  # a stage by its number
                yield from _image(name, values, stages)
    if takes[1].upper() == "ADD" and _FETCHED.search(takes[2]):
        yield "remote-source", "ADD fetches with the server's own network; use RUN and a program of the image.", None
    if takes[1].upper() == "RUN" and _RIGHTS.search(takes[2]):
        yield "build-privileges", "RUN asks for rights on the server.", None


def _image(text: str, values: _Values, stages: set[str]) -> Iterator[tuple[str, str, str | None]]:
    """Every image that this may come to: an argument can have several values in one file."""
    text = text.strip("\"'")
    used = sorted({found[1] or found[3] for found in _VARIABLE.finditer(text)})
    choices = [sorted(values.get(name, set())) or [""] for name in used]
    if math.prod(map(len, choices)) > _MOST_CHOICES:
        yield "foreign-image", f"Which image {text[:60]} is cannot be told.", None
        return
    for chosen in itertools.product(*choices):
        known = dict(zip(used, chosen, strict=True))
        name = _VARIABLE.sub(lambda found, known=known: known[found[1] or found[3]] or found[2] or "", text)  # type: ignore[misc]
        if "$" in name or not name:
            yield "foreign-image", f"Which image {text[:60]} is cannot be told.", None
        elif name.lower() not in stages and name != "scratch":
            yield "foreign-image", "", name


def _candidates(text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines()
    yield from enumerate(lines, 1)
    for escape in ("\\", "`"):
        joined, begin = "", 0
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith("#") or (joined and not line.strip()):
                continue
            begin = begin if joined else number
            if line.rstrip().endswith(escape):
                joined += line.rstrip()[:-1]
            elif joined:
                yield begin, joined + line
                joined = ""
        if joined:
            yield begin, joined


def _values(candidates: list[tuple[int, str]], args: Mapping[str, str]) -> _Values:
    """All values that each argument has anywhere: which one counts where is the engine's affair."""
    found: _Values = {name: {value} for name, value in args.items()}
    for _, line in candidates:
        if declared := _ARG.match(line):
            for name, value in _PAIR.findall(declared[1]):
                found.setdefault(name, set()).add(value.strip("\"'"))
    return found
