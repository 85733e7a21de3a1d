"""`ADD` of an address or of a variable: fetched by a container, and no longer by the engine.

The engine would fetch with the server's own network, and reach what no container reaches. So a stage of its own
fetches, in a container like that of any RUN, and ADD becomes COPY from it. Only what can be told without a doubt is
taken: one plain line, an https address of a host with a name, every variable with one value that the file itself or
the build gives. What is told stands in the line that runs: no variable of an image can make something else of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

IMAGE = "curlimages/curl:8.17.0"
"""The image that fetches."""

_STAGE = "ikoma-fetched"
_LINE = re.compile(
    r"[ \t]*ADD[ \t]+(?:--checksum=sha256:(?P<sum>[0-9a-f]{64})[ \t]+)?"
    r"(?P<flags>(?:--(?:chown|chmod)=[\w:.-]+[ \t]+)*)(?:--checksum=sha256:(?P<later>[0-9a-f]{64})[ \t]+)?"
    r"(?P<source>[^\s\"'\\`\[\]]+)[ \t]+(?P<target>[^\s\"'\\`\[\]$]+)[ \t]*\r?"
)
_FROM = re.compile(r"[ \t]*FROM[ \t]", re.IGNORECASE)
_ARG = re.compile(r"[ \t]*ARG[ \t]+([A-Za-z_]\w*)(?:=(\S*))?[ \t]*\r?")
_SETS = re.compile(r"[ \t]*(?:ENV|ARG)[ \t](.*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_ADDRESS = re.compile(
    r"https://(?=[^/]*[a-z])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/(?:[\w.~%+=&,@-]+/)*([\w.~%+=&,@-]+)", re.ASCII
)
_PATH = re.compile(r"(?:\./|[\w-]+/)?[\w.-]+/?|(?:\./|[\w-]+/)[\w.-]+(?:/[\w.-]+)*/?", re.ASCII)
"""No part of it could be a host: what begins with a name and a dot is one file."""
_COMPARE = 'echo \\"$1\\" | sha256sum -c -'
_UNTOLD = re.compile(r"<<|^\s*#\s*escape\s*=|from=[\"']?\d|ONBUILD", re.IGNORECASE | re.MULTILINE)
"""With these in a file no line of it is taken: lines could mean something else, or stages be counted."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One ADD whose source is told: from an address, or of the app's own files where `name` is None."""

    number: int
    line: str
    flags: str
    source: str
    name: str | None
    target: str
    checksum: str | None = None
    """SHA-256 that what is fetched must have."""


def fetches(text: str, args: Mapping[str, str]) -> list[Fetch]:
    """List the fetches of a Dockerfile.

    Args:
        args: the build's own arguments.
    """
    lines = text.split("\n")
    if _UNTOLD.search(text) or _STAGE in text.lower() or not any(map(_FROM.match, lines)):
        return []
    return list(_find_told(lines, _read_values(lines, args)))


def rewrite(text: str, args: Mapping[str, str]) -> str:
    """The Dockerfile as it is built."""
    found = fetches(text, args)
    lines = text.split("\n")
    stage = [f"FROM {IMAGE} AS {_STAGE}"]
    for index, item in enumerate(found):
        if item.name is None:
            lines[item.number - 1] = f"ADD {item.flags}{_name_local(item.source)} {item.target}"
            continue
        place = f"/tmp/{index}/{item.name}"  # noqa: S108 (of the container that fetches)
        stage.append(f'RUN ["curl", "-fsSL", "--create-dirs", "-o", "{place}", "{item.source}"]')
        if item.checksum is not None:
            stage.append(f'RUN ["sh", "-c", "{_COMPARE}", "sh", "{item.checksum}  {place}"]')
        lines[item.number - 1] = f"COPY {item.flags}--from={_STAGE} {place} {item.target}"
    if len(stage) > 1:
        first = next(number for number, line in enumerate(lines) if _FROM.match(line))
        lines[first:first] = stage
    return "\n".join(lines)


def _find_told(lines: list[str], values: Mapping[str, str]) -> Iterator[Fetch]:
    goes_on = False
    for number, line in enumerate(lines, 1):
        begins = not goes_on
        if line.strip() and not line.lstrip().startswith("#"):
            goes_on = line.rstrip().endswith(("\\", "`"))
        said = _LINE.fullmatch(line) if begins else None
        if said is None or ("$" not in said["source"] and ":" not in said["source"]):
            continue
        source = _VARIABLE.sub(lambda found: values.get(found[1] or found[2], "$"), said["source"])
        flags, target, checksum = said["flags"], said["target"], said["sum"] or said["later"]
        address = _ADDRESS.fullmatch(source)
        if address and not address[1].endswith(".git") and address[1].strip("."):
            yield Fetch(number, line, flags, source, address[1], target, checksum)
        elif not address and checksum is None and _PATH.fullmatch(source) and ".." not in source.split("/"):
            yield Fetch(number, line, flags, source, None, target)


def _name_local(source: str) -> str:
    return source if source.startswith("./") else f"./{source}"


def _read_values(lines: list[str], args: Mapping[str, str]) -> dict[str, str]:
    """Variables with one value each."""
    found: dict[str, set[str]] = {}
    for line in lines:
        said = _ARG.fullmatch(line)
        if said and "$" not in (said[2] or ""):
            given = args.get(said[1], said[2])
            found.setdefault(said[1], set()).update([given.strip("\"'")] if given else [])
        elif other := _SETS.match(line):
            for name in re.findall(r"[A-Za-z_]\w*", other[1]):
                found.setdefault(name, set()).update(("", "$"))
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
