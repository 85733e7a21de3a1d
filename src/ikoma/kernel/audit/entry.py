"""An entry of the audit log: what one call leaves behind, as one compact line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ikoma.kernel.audit.lost_entries import make_stamp
from ikoma.kernel.redaction.redaction import redact_keys, withhold_if_long

STARTED, SUCCESS, ERROR = "started", "success", "error"
GAP = "audit_gap"
"""The code of an entry that IKOMA writes when the log does not end as it was left. No call ends with it: what a caller
asks for becomes the name of an entry, never its code."""
LOST = "audit_lost"
"""The code of an entry that IKOMA writes, once it can, about those that it could not write."""

_LONGEST_ERROR = 1000
_LONGEST = 200
"""Limit of all other texts."""
_MOST_BYTES = 24 << 10
"""Limit of a line, so that nobody fills a file of the log with a few calls. All of an entry but its arguments fits."""


@dataclass(slots=True)
class AuditEntry:
    """The record that one call leaves behind. `arguments` are already masked; `duration` is milliseconds."""

    request_id: str
    capability: str
    role: str | None = None
    caller: str | None = None
    key: str | None = None
    """The id of the caller's key: names are free."""
    arguments: dict[str, Any] = field(default_factory=dict)
    result: str = STARTED
    error: str | None = None
    code: str | None = None
    duration: float = 0.0

    def encode_line(self, seq: int, prev: str) -> bytes:
        """The entry as one line of JSON.

        Args:
            seq: its number in the log.
            prev: the hash of the line before it.
        """
        fields = {
            "timestamp": make_stamp(),
            "requestId": withhold_if_long(self.request_id, _LONGEST),
            "capability": withhold_if_long(self.capability, _LONGEST),
            "role": self.role,
            "caller": self.caller and withhold_if_long(self.caller, _LONGEST),
            "key": self.key and withhold_if_long(self.key, _LONGEST),
            "arguments": self.arguments,
            "result": self.result,
            "error": self.error and withhold_if_long(self.error, _LONGEST_ERROR),
            "code": self.code,
            "duration": round(self.duration, 3),
            "seq": seq,
            "prev": prev,
        }
        line = _encode(fields)
        if len(line) > _MOST_BYTES:
            line = _encode(fields | {"arguments": _keep_app_name(self.arguments, len(line))})
        return redact_keys(line)

    @property
    def kind(self) -> str:
        """The facts that are remembered of a lost entry; of a stranger's not the name, which could be any."""
        came_to = self.code or self.result
        return came_to if self.caller is None else f"{self.capability} {came_to}"


def _encode(fields: Mapping[str, Any]) -> bytes:
    line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    # Beyond ASCII, readers differ in what ends a line and what moves the cursor: all of it is escaped.
    return line if line.isascii() else json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _keep_app_name(arguments: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The app's name alone, of arguments that take too much room: by it the entry is found."""
    app = arguments.get("appName")
    named = {"appName": withhold_if_long(app, _LONGEST)} if isinstance(app, str) else {}
    return {**named, "[arguments]": f"[too long: {size} bytes]"}
