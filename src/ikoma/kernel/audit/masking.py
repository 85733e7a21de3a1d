"""A call's arguments as the audit log keeps them: enough to know what was asked, never a secret.

SQL and environment values are described, not quoted; of an unknown argument only the name is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson

from ikoma.kernel.redaction.redaction import withhold_if_long
from ikoma.kernel.registry import Capability
from ikoma.kernel.requests import LONGEST_NAME

_LONGEST = 200
_IN_ADDRESS = re.compile(r"://[^/\s@]+@")
"""User and password in an address; they are refused, but what is refused is on record too."""
_MOST = 20


def mask_arguments(capability: Capability, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the audit log may keep them."""
    masked: dict[str, Any] = {}
    for name, value in islice(arguments.items(), _MOST):
        if name in capability.sensitive:
            masked[name] = _describe(value, capability.sensitive[name])
        elif name in capability.arguments:
            masked[name] = _quote(value)
        else:
            masked[_name(name)] = "[unknown argument]"
    return masked


def mask_result(capability: Capability, answer: bytes) -> bytes:
    """The result as a record may keep it: what it showed this once is gone."""
    if not capability.secret_results:
        return answer
    result = orjson.loads(answer)
    return orjson.dumps(
        {name: "[shown once]" if name in capability.secret_results else result[name] for name in result}
    )


def _describe(value: Any, what: str) -> Any:
    if isinstance(value, Mapping):
        return {_name(str(name)): "[redacted]" for name in islice(value, _MOST)}
    return f"[{what}, {len(value)} characters]" if isinstance(value, str) else f"[{what}]"


def _quote(value: Any) -> Any:
    if isinstance(value, str):
        return withhold_if_long(_IN_ADDRESS.sub("://***@", value), _LONGEST)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list) and len(value) <= _MOST and all(isinstance(item, str) for item in value):
        return [_quote(item) for item in value]
    return f"[{type(value).__name__}]"


def _name(name: str) -> str:
    return withhold_if_long(name, LONGEST_NAME, "name")
