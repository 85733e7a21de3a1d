"""Results and failures, worded for a model.

What others wrote (logs of containers, SQL errors, content of files) is data and never an instruction: it reaches a
model only between markers that nobody can guess, without control characters, and cut where it is too long.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from mcp_types import CallToolResult, TextContent

from ikoma.errors import IkomaError
from ikoma.kernel.failures import as_told
from ikoma.kernel.redaction import Path, applied
from ikoma.kernel.registry import Capability, Failed, Untrusted
from ikoma.transports.mcp.tools import tool_name

LONGEST = 100_000
"""Characters of one untrusted piece that an answer holds."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_REST = "Ask for less at a time to see the rest: a smaller tail or limit, an offset, a filter."


class Wrapper:
    """Wraps the untrusted pieces of one answer. Each answer has a marker of its own."""

    def __init__(self) -> None:
        self._marker = f"untrusted-{secrets.token_hex(6)}"

    def wrap(self, text: str, what: str) -> str:
        clean = _CONTROL.sub("", text)
        if len(clean) > LONGEST:
            clean = f"{clean[:LONGEST]}\n[cut: {len(clean) - LONGEST} more characters. {_REST}]"
        return f"<{self._marker} what={what!r}>\n{clean}\n</{self._marker}>"

    def inside(self, value: Any, what: str) -> Any:
        """The same form with every text wrapped: a list of lines becomes a list of one wrapped text."""
        if isinstance(value, str):
            return self.wrap(value, what)
        if isinstance(value, list):
            if value and all(isinstance(item, str) for item in value):
                return [self.wrap("\n".join(value), what)]
            if value and all(isinstance(item, list) for item in value):  # rows: one wrapped text, a line for each
                return [[self.wrap("\n".join(map(_text, value)), what)]]
            return [self.inside(item, what) for item in value]
        if isinstance(value, dict):
            return {"untrusted": self.wrap(_pretty(value), what)} if value else value
        return value


def success(capability: Capability, body: bytes, *, pending: bool) -> dict[str, Any]:
    """What a call came to as a tools/call result on the wire; or, `pending`, the operation that it goes on as."""
    result = orjson.loads(body)
    leads: Sequence[Path] = [("next",)]
    if not pending:
        wrapper, leads = Wrapper(), (*capability.leads, ("result", "next"))
        for path, mark in capability.untrusted:
            result = applied(result, path, partial(_marked, mark=mark, wrapper=wrapper))
    for path in leads:
        result = applied(result, path, as_tool_call)
    if isinstance(result, dict):  # the schema knows no null: what has no value is not there
        result = {name: value for name, value in result.items() if value is not None}
    else:
        result = {"result": result}
    body = orjson.dumps(result)
    # Not as the SDK's models: every call would pay for building and taking them apart again.
    return {"content": [{"type": "text", "text": body.decode()}], "structuredContent": result, "resultType": "complete"}


def _marked(part: Any, mark: Untrusted, wrapper: Wrapper) -> Any:
    if isinstance(mark, Failed):
        return part and told(part, wrapper)
    return wrapper.inside(part, mark.what)


def as_tool_call(lead: Any) -> Any:
    """A call that leads on, as a model makes it."""
    if not isinstance(lead, dict) or lead.keys() != {"capability", "arguments"}:
        return lead
    return {"tool": tool_name(lead["capability"]), "arguments": lead["arguments"]}


def failure(error: IkomaError, request_id: str) -> CallToolResult:
    """A failure that says what to do: code, one sentence, hint and the call that leads on."""
    return as_failure(as_told(error), request_id)


def as_failure(failure: Mapping[str, Any], request_id: str) -> CallToolResult:
    """A failure as it was told, for a model."""
    said = {**told(failure, Wrapper()), "requestId": request_id}
    return CallToolResult(content=[TextContent(text=_text(said))], is_error=True)


def told(failure: Mapping[str, Any], wrapper: Wrapper) -> dict[str, Any]:
    """A failure in IKOMA's own words, with what it quotes as data."""
    details = failure.get("details") or {}
    quoted = {key: value for key, value in details.items() if key not in _OURS}
    plain = failure.get("plain")
    if plain is not None:
        quoted = {"message": failure["error"], **quoted}
    said = {"code": failure["code"], "error": plain or failure["error"], "hint": failure["hint"]}
    if failure.get("next"):
        said["next"] = as_tool_call(failure["next"])
    said |= {key: value for key, value in details.items() if key in _OURS}
    if quoted:
        said["details"] = wrapper.wrap(_pretty(quoted), "what the failure quotes")
    return said


# Details that hold only our own words: names of arguments, what would be lost, tokens.
_OURS = frozenset({"arguments", "summary", "confirmation", "expiresAt", "retryAfter"})


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
