"""PostgreSQL's text of a value as JSON: numbers, truth values and JSON itself; everything else stays the text.

A number that JSON or its readers would change (numeric, NaN, infinity) is text, and so is a json value that cannot be
written again: too deep, too long a number, half a surrogate pair.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

_DEEPEST = 100
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


def convert_to_json(text: str, kind: int) -> Any:
    """The value of a column of this type (by its oid)."""
    read = _READ.get(kind)
    return text if read is None else read(text)


def _read_number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _read_document(text: str) -> Any:
    if _measure_depth(text) > _DEEPEST:
        return text
    try:
        value = json.loads(text, parse_float=_read_number)
        orjson.dumps(value)
    except (ValueError, TypeError, RecursionError):
        return text
    return value


def _measure_depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_QUOTED.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


_READ: Mapping[int, Callable[[str], Any]] = {
    16: lambda text: text == "t",
    **dict.fromkeys((20, 21, 23, 26), int),  # int8, int2, int4, oid
    **dict.fromkeys((700, 701), _read_number),  # float4, float8
    **dict.fromkeys((114, 3802), _read_document),  # json, jsonb
}
