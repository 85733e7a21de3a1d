"""Reads a few members of a large JSON object without making anything of the rest.

A git host tells of a push with all its commits, in up to 25 MiB; what counts of it is a few words. What is passed over
is only followed by its quotes and brackets, so that it costs no memory.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import orjson

from ikoma.errors import MalformedRequest
from ikoma.transports.body import Body

_LARGEST = 4 << 20
"""Bytes of a member that is read."""
_DEEPEST = 1000
_ENDS_EARLY = "The body is not JSON: it ends early."
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^,}\]\s]++")
_INSIDE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|[^"{}\[\]]++', re.DOTALL)
_OPENING, _CLOSING, _QUOTE = frozenset(b"{["), frozenset(b"}]"), b'"'[0]


def skim_members(body: Body, wanted: Collection[str]) -> dict[str, Any]:
    """The wanted members of an object; MalformedRequest where it is none."""
    found: dict[str, Any] = {}
    place = _expect(body, 0, b"{")
    while True:
        place = _skip_space(body, place)
        if body[place : place + 1] == b"}":
            return found
        name = _STRING.match(body, place)
        if name is None:
            raise MalformedRequest("The body is JSON, but not an object.")
        begin = _skip_space(body, _expect(body, name.end(), b":"))
        end = _end_of_value(body, begin)
        key = _read(bytes(name[0]))
        if key in wanted:
            if end - begin > _LARGEST:
                raise MalformedRequest(f"{key} has more than {_LARGEST} bytes.")
            found[key] = _read(bytes(body[begin:end]))
        place = _skip_space(body, end)
        if body[place : place + 1] == b",":
            place += 1
        elif body[place : place + 1] != b"}":
            raise MalformedRequest(_ENDS_EARLY)


def _end_of_value(body: Body, place: int) -> int:
    sign = body[place] if place < len(body) else None
    if sign not in _OPENING:
        found = (_STRING if sign == _QUOTE else _SCALAR).match(body, place)
        if found is None:
            raise MalformedRequest(_ENDS_EARLY)
        return found.end()
    depth = 0
    while (piece := _INSIDE.match(body, place)) is not None:
        sign = body[place]
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth > _DEEPEST:
            raise MalformedRequest("The body is nested too deeply.")
        place = piece.end()
        if depth == 0:
            return place
    raise MalformedRequest(_ENDS_EARLY)


def _expect(body: Body, place: int, sign: bytes) -> int:
    place = _skip_space(body, place)
    if body[place : place + 1] != sign:
        raise MalformedRequest("The body is JSON, but not an object.")
    return place + 1


def _skip_space(body: Body, place: int) -> int:
    found = _SPACE.match(body, place)
    return found.end() if found else place


def _read(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MalformedRequest("The body is not JSON.") from None
