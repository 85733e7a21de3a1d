"""Find what a Dockerfile builds on: every image it names, and what it fetches with the engine's own network.

It is read more broadly than an engine reads it: each line by itself, and joined with the next ones in each way that
lines can be joined. What may be an instruction counts as one, and a name that quotes, escapes or variables could make
another of is none that can be told.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ikoma.apps.policy.fetched import IMAGE, fetches
from ikoma.apps.policy.rules import RESERVED_LABEL
from ikoma.apps.yaml.violation import quote

_FROM = re.compile(r"\s*(?:ONBUILD\s+)?FROM\s+((?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_FLAGGED = re.compile(r"\s*(?:ONBUILD\s+)?FROM\s+--.*[\"'\\`]", re.IGNORECASE)
_DIRECTIVE = re.compile(r"(?:#|//)\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_FRONTEND = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?([:@][A-Za-z0-9_.:@-]+)?")
"""The programs that read Dockerfiles as this module does; any other could take what it likes."""
_ARG = re.compile(r"\s*ARG\s+(.+)$", re.IGNORECASE)
_PAIR = re.compile(r"(?<!\w)([A-Za-z_]\w*+)=((?:\"[^\"]*\"|'[^']*'|[^\s\"'])*)")
_WITHOUT_VALUE = re.compile(r"(?<!\S)([A-Za-z_]\w*+)(?!\S)")
_TAKES = re.compile(r"\s*(?:ONBUILD\s+)?(COPY|ADD|RUN)\s(.*)$", re.IGNORECASE)
_TAKEN_FROM = re.compile(r"(?:--|[,\s=])from=([^\s,]+)", re.IGNORECASE)
_FETCHED = re.compile(r"\w://|(?:^|[\s\[,])(?:[\w.-]+@[\w.-]+:|github\.com/)", re.ASCII)
_UNTOLD = re.compile(r"(?!\.?/|[\w-]+/).*\$", re.ASCII)
"""A variable in what does not begin as a path, which an address never does: it could become one."""
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?:(:?-)([^}$]*))?\}|([A-Za-z_]\w*))")
_NAME = re.compile(r"[A-Za-z0-9_./:@-]+")
_RIGHTS = re.compile(r"--(security=insecure|network=host)")
_LABEL = re.compile(r"\s*(?:ONBUILD\s+)?LABEL\s(.*)$", re.IGNORECASE)
_BY_NUMBER = re.compile(r"\d{1,2}")
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_ID = re.compile(r"[0-9a-f]+")
_BARE = str.maketrans("", "", "\"'\\`")
_SPACES = " \t\r"
_PLATFORM = {
    "OS": {"linux"},
    "ARCH": {"amd64", "arm64", "arm"},
    "VARIANT": {"", "v7", "v8"},
    "PLATFORM": {"linux/amd64", "linux/arm64", "linux/arm/v7"},
}
"""Values that BuildKit itself gives for TARGETOS, BUILDARCH and so on."""
_MOST_JOINED = 1 << 24
_OF_A_LINE = 64
"""Cost of a line that is joined, besides its own length: it takes time even where it is empty."""
_MOST_CHOICES = 50

_Values = dict[str, set[str]]

Problem = tuple[str, int, str, str | None]
"""(rule, line, what, image to be checked as any other)."""


def find_problems(text: str, args: Mapping[str, str]) -> Iterator[Problem]:
    """List what is to be checked or refused.

    Args:
        args: the build's own arguments.
    """
    text = text.removeprefix("\ufeff")
    candidates = list(_list_candidates(text))
    stages = _find_stages(text)
    values = _list_values(candidates, args, first=min(stages.values(), default=0))
    seen: set[tuple[str, str]] = set()
    for number, rule, what, image in _find_all(text, candidates, values, stages, args):
        if (what, image or "") not in seen:
            seen.add((what, image or ""))
            yield rule, number, what, image


_Found = tuple[str, str, str | None]
_Stages = dict[str, int]
"""Name → the first line that it may have been given in."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


def _find_all(
    text: str, candidates: list[tuple[int, str]], values: _Values, stages: _Stages, args: Mapping[str, str]
) -> Iterator[tuple[int, str, str, str | None]]:
    for number, found in _find_readers(text, args):
        yield number, *found
    if not candidates:
        yield 1, "foreign-image", "It has too many lines that go on in the next.", None
    told = {(item.number, item.line): item for item in fetches(text, args)}
    for number, line in candidates:
        if (number, line) in told:  # it is done by a container, whose image is one as any other
            if told[number, line].name is not None:
                yield number, "foreign-image", "", IMAGE
            continue
        for found in _find_in_line(_Line(number, line), values, stages):
            yield number, *found


def _find_readers(text: str, args: Mapping[str, str]) -> Iterator[tuple[int, _Found]]:
    """The program that reads the file: the first lines, or an argument, can name one."""
    lines = text.split("\n")
    begin = 1 if lines[0].startswith("#!") else 0
    named = [(1, args["BUILDKIT_SYNTAX"])] if "BUILDKIT_SYNTAX" in args else []
    for number, line in enumerate(lines[begin:], begin + 1):
        if line.strip() and not line.lstrip().startswith(("#", "//")):
            break
        named += [(number, found[1])] if (found := _DIRECTIVE.match(line.lstrip())) else []
    for number, name in named:
        yield from ((number, found) for found in _find_images(name, {}, {}, number))
        if not _FRONTEND.fullmatch(name):
            what = f"{quote(name)} names the program that reads the file, which may take any image."
            yield number, ("foreign-image", what, None)
    if "\n".join(lines[begin:]).lstrip().startswith("{"):
        yield 1, ("foreign-image", "Which program reads the file cannot be told.", None)


def _find_in_line(line: _Line, values: _Values, stages: _Stages) -> Iterator[_Found]:
    if found := _FROM.match(line.text):
        yield from _find_images(found[2], values, stages, line.number)
    if _FLAGGED.match(line.text):
        yield "foreign-image", f"Which image is meant by {quote(line.text.strip())} cannot be told.", None
    if labelled := _LABEL.match(line.text):
        yield from _check_labels(labelled[1].translate(_BARE).split())
    takes = _TAKES.match(line.text)
    if takes is None:
        return
    verb, rest = takes[1].upper(), takes[2].translate(_BARE)
    if verb != "RUN" or "--mount" in rest:
        for name in _TAKEN_FROM.findall(f" {rest}"):
            if not _BY_NUMBER.fullmatch(name):  # a stage by its number
                yield from _find_images(name, values, stages, line.number)
    if verb == "ADD" and _FETCHED.search(rest):
        yield "remote-source", "ADD fetches with the server's own network; use RUN and a program of the image.", None
    elif verb == "ADD" and any(map(_UNTOLD.match, _list_sources(rest))):
        yield "remote-source", "What ADD takes cannot be told; use COPY, or begin the path with ./.", None
    if verb == "RUN" and _RIGHTS.search(rest):
        yield "build-privileges", "RUN asks for rights on the server.", None


def _check_labels(words: list[str]) -> Iterator[_Found]:
    """The classic builder's containers have the labels that stand before their step: they could pass for another's."""
    for number, word in enumerate(words):
        name, is_pair, _ = word.partition("=")
        if RESERVED_LABEL.match(name):
            yield "reserved-label", f"{quote(name)} is a reserved label.", None
        elif "$" in name and (is_pair or number == 0):
            yield "reserved-label", f"Which label is meant by {quote(name)} cannot be told.", None


def _list_sources(rest: str) -> list[str]:
    """List what stands before the last word of COPY or ADD, in either form."""
    return [word for word in re.split(r"[\s,\[\]]+", rest) if word and not word.startswith("--")][:-1]


def _find_images(text: str, values: _Values, stages: _Stages, number: int) -> Iterator[_Found]:
    """Every image that this may come to in that line: an argument can have several values in one file."""
    text = text.strip("\"'")
    if text in ("\\", "`"):  # the line goes on: joined with the next it is looked at again
        return
    used = list(_VARIABLE.finditer(text))
    choices = [_list_choices(found, values) for found in used]
    if math.prod(map(len, choices)) > _MOST_CHOICES:
        yield "foreign-image", f"Which image is meant by {quote(text)} cannot be told.", None
        return
    for chosen in itertools.product(*choices):
        following = iter(chosen)
        name = _VARIABLE.sub(lambda _, following=following: next(following), text)  # type: ignore[misc]
        if not _NAME.fullmatch(name):
            yield "foreign-image", f"Which image is meant by {quote(text)} cannot be told.", None
        elif stages.get(name.lower(), number) >= number and name != "scratch":
            yield "foreign-image", "", name


def _list_choices(found: re.Match[str], values: _Values) -> list[str]:
    """List what a variable may stand for where it is used."""
    known = set(itertools.islice(values.get(found[1] or found[4], {""}), _MOST_CHOICES + 2))  # all, or too many
    if found[2] is None:
        return sorted(known)
    return sorted({value for value in known if value or found[2] == "-"} | {found[3]})


def _find_stages(text: str) -> _Stages:
    """Each stage that nobody can take for one while the engine does not, with its line; one without a name by its line.

    A FROM inside another instruction names none, and what looks like the id of an image is never a stage's name.
    """
    found: _Stages = {}
    lines = text.split("\n")
    goes_on = False
    for number, line in enumerate(lines, 1):
        may_begin = not goes_on and not line.lstrip().startswith("#")
        if may_begin and (begun := _FROM.match("".join(_join_lines(lines, number - 1, "\\")) or line)):
            name = (begun[3] or "").lower()
            told = name if _STAGE.fullmatch(name) and not _ID.fullmatch(name) else f"\n{number}"
            found[told] = min(number, found.get(told, number))
        if "<<" in line:
            break
        if line.strip() and not line.lstrip().startswith("#"):
            goes_on = line.rstrip().endswith(("\\", "`"))
    return found


def _list_candidates(text: str) -> list[tuple[int, str]]:
    """All that may be an instruction, with its line; none where that is too much to look at."""
    lines = text.split("\n")
    found = list(enumerate(lines, 1))
    size = 0
    for escape in ("\\", "`"):
        # What stands before a line can be the end of a text, which only looks as if it went on.
        begins = range(len(lines)) if "<<" in text else _find_beginnings(lines, escape)
        for begin in begins:
            parts = _join_lines(lines, begin, escape)
            size += sum(map(len, parts)) + _OF_A_LINE * len(parts)
            if size > _MOST_JOINED:
                return []
            if parts:
                found.append((begin + 1, "".join(parts)))
    return found


def _find_beginnings(lines: list[str], escape: str) -> Iterator[int]:
    """Lines with which an instruction may begin: those before which the engine may see none that goes on."""
    goes_on = False
    for number, line in enumerate(lines):
        if not goes_on:
            yield number
        if goes_on and (not line.strip() or line.lstrip().startswith("#")):
            continue
        said = line.rstrip(_SPACES)
        goes_on = said.endswith(escape) and not said.endswith(escape * 2)


def _join_lines(lines: list[str], begin: int, escape: str) -> list[str]:
    """A line and those that it goes on in, one part for each; none where it goes on in none."""
    if not lines[begin].rstrip().endswith(escape):
        return []
    parts: list[str] = []
    for number in range(begin, len(lines)):
        line = lines[number]
        if parts and (not line.strip() or line.lstrip().startswith("#")):
            parts.append("")
            continue
        said = line.rstrip()
        if not said.endswith(escape):
            parts.append(line)
            break
        parts.append(said[:-1])
    return parts


def _list_values(candidates: list[tuple[int, str]], args: Mapping[str, str], *, first: int) -> _Values:
    """All values that each argument has anywhere: which one counts where is the engine's affair.

    Args:
        first: the line of the first FROM; an argument that is not declared before it is empty in any FROM.
    """
    found: _Values = {f"{side}{kind}": set(them) for side in ("TARGET", "BUILD") for kind, them in _PLATFORM.items()}
    for name, value in args.items():
        found.setdefault(name, set()).add(value)
    declared: set[str] = set()
    for number, line in candidates:
        if not (said := _ARG.match(line)):
            continue
        pairs = [(name, value.strip("\"'")) for name, value in _PAIR.findall(said[1])]
        names = _WITHOUT_VALUE.findall(said[1])
        for name, value in (*pairs, *((name, "") for name in names if name not in args)):
            found.setdefault(name, set()).add(value)
        if number < first:
            declared |= {*dict(pairs), *names}
    for name in found.keys() - declared - {f"{side}{kind}" for side in ("TARGET", "BUILD") for kind in _PLATFORM}:
        found[name].add("")
    return found
