"""What a Dockerfile builds on: every image it names, and what it fetches with the engine's own network.

It is read more broadly than an engine reads it: each line by itself, and joined with the next one in both ways that
lines can be joined. What may be an instruction counts as one, whatever quotes and escapes it is spelt with.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping

_FROM = re.compile(r"\s*(?:ONBUILD\s+)?FROM\s+((?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_SYNTAX = re.compile(r"\s*(?:#|//)\s*syntax\s*=\s*(\S+)|.*\"syntax\"\s*:\s*\"([^\"]*)", re.IGNORECASE)
_READER = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@]\S+)?")
_ARG = re.compile(r"\s*ARG\s+(.+)$", re.IGNORECASE)
_PAIR = re.compile(r"([A-Za-z_]\w*)=((?:\"[^\"]*\"|'[^']*'|\\.|[^\s\"'\\])*)")
_TAKES = re.compile(r"\s*(?:ONBUILD\s+)?(COPY|ADD|RUN)\s(.*)$", re.IGNORECASE)
_TAKEN_FROM = re.compile(r"(?:--|[,=\s])from=([^\s,]+)", re.IGNORECASE)
_BY_NUMBER = re.compile(r"\d{1,2}")
_FETCHED = re.compile(r"(?:https?|ftp|git|ssh)://|[\w.-]+@[\w.-]+:|github\.com/|[a-z]*(?::/?/?)?\$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}$]*))?\}|([A-Za-z_]\w*))")
_RIGHTS = re.compile(r"--(security=insecure|network=host)")
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_ID = re.compile(r"[0-9a-f]+")
_QUOTING = str.maketrans("", "", "\\`\"'")
_MOST_CHOICES = 50

_Values = dict[str, set[str]]

Problem = tuple[str, int, str, str | None]
"""(rule, line, what, image to be checked as any other)."""


def problems(text: str, args: Mapping[str, str]) -> Iterator[Problem]:
    """What is to be checked or refused.

    Args:
        args: the build's own arguments.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    candidates = list(_candidates(lines))
    values = _values(candidates, args)
    stages = _stages(lines)
    seen: set[tuple[str, str]] = set()
    if reader := args.get("BUILDKIT_SYNTAX"):
        yield from ((rule, 1, what, image) for rule, what, image in _read_by(reader, values))
    for number, line in candidates:
        for rule, what, image in _of_line(line, values, stages):
            if (what, image or "") not in seen:
                seen.add((what, image or ""))
                yield rule, number, what, image


def _of_line(line: str, values: _Values, stages: set[str]) -> Iterator[tuple[str, str, str | None]]:
    if found := _SYNTAX.match(line):
        yield from _read_by(found[1] or found[2], values)
    if found := _FROM.match(line):
        yield from _image(found[2], values, stages)
    takes = _TAKES.match(line)
    if takes is None:
        return
    verb, rest = takes[1].upper(), takes[2].translate(_QUOTING)
    if verb != "RUN" or "--mount" in rest:
        for name in _TAKEN_FROM.findall(rest):
            if not _BY_NUMBER.fullmatch(name):  # a stage by its number
                yield from _image(name, values, stages)
    if verb == "ADD" and any(map(_FETCHED.match, _sources(rest))):
        yield "remote-source", "ADD fetches with the server's own network; use RUN and a program of the image.", None
    if verb == "RUN" and _RIGHTS.search(rest):
        yield "build-privileges", "RUN asks for rights on the server.", None


def _read_by(text: str, values: _Values) -> Iterator[tuple[str, str, str | None]]:
    """The image that reads the Dockerfile: it tells the builder what to do, and only Docker's own does as it says."""
    yield from _image(text, values, set())
    if not _READER.fullmatch(text):
        yield "foreign-image", f"{text[:60]} reads the Dockerfile, and can name any image to the builder.", None


def _sources(rest: str) -> list[str]:
    """What ADD adds, and not where."""
    words = [word for word in re.split(r"[\s,\[\]]+", rest) if word and not word.startswith("--")]
    return words[:-1]


def _stages(lines: list[str]) -> set[str]:
    """The names of stages that nobody can take for one while the engine does not.

    A FROM inside another instruction names none, and what looks like the id of an image is never a stage's name.
    """
    found: set[str] = set()
    goes_on = False
    for line in lines:
        if "<<" in line:
            break
        named = _FROM.match(line)
        if (
            named
            and named[3]
            and not goes_on
            and _STAGE.fullmatch(name := named[3].lower())
            and not _ID.fullmatch(name)
        ):
            found.add(name)
        if line.strip() and not line.lstrip().startswith("#"):
            goes_on = line.rstrip().endswith(("\\", "`"))
    return found


def _image(text: str, values: _Values, stages: set[str]) -> Iterator[tuple[str, str, str | None]]:
    """Every image that this may come to: an argument can have several values in one file."""
    text = text.translate(_QUOTING)
    if not text:  # the line goes on: joined with the next it is looked at again
        return
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


def _candidates(lines: list[str]) -> Iterator[tuple[int, str]]:
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
                found.setdefault(name, set()).add(value.translate(_QUOTING))
    return found
