"""Results and failures, worded for a model.

What others wrote (logs of containers, SQL errors, content of files) is data and never an instruction: it reaches a
model only between markers that nobody can guess, without control characters, and cut where it is too long.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from functools import partial
from typing import Any

import orjson
from mcp_types import CallToolResult, TextContent

from ikoma.errors import IkomaError
from ikoma.kernel.redaction import applied
from ikoma.kernel.registry import Capability

LONGEST = 100_000
"""Characters of one untrusted piece that an answer holds."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_REST = "Ask for less at a time to see the rest: a smaller tail or limit, an offset, a filter."

# The next safe call after each failure; the first of them that this caller may make.
NEXT = {
    "unauthenticated": ("platform.info",),
    "role_too_low": ("platform.info",),
    "out_of_scope": ("apps.list",),
    "unknown_capability": ("platform.info",),
    "app_not_found": ("apps.list", "apps.init"),
    "app_busy": ("operations.list",),
    "file_missing": ("files.list", "apps.init"),
    "invalid_compose": ("apps.validate",),
    "project_name_taken": ("apps.list",),
    "deploy_failed": ("apps.logs", "apps.status"),
    "not_deployed": ("deploy.up", "apps.validate"),
    "release_not_found": ("release.list",),
    "nothing_to_go_back_to": ("release.list",),
    "already_serving": ("release.list",),
    "domain_not_found": ("domain.list",),
    "domain_in_compose": ("domain.list",),
    "service_not_found": ("apps.status",),
    "cannot_run_twice": ("apps.status",),
    "database_missing": ("db.create", "db.status"),
    "database_foreign": ("db.status",),
    "migration_changed": ("db.status",),
    "sql_failed": ("db.status",),
    "not_a_query": ("db.migrate", "db.status"),
    "query_failed": ("db.status",),
    "backup_exists": ("db.backup",),
    "operation_not_found": ("operations.list",),
    "operation_cancelled": ("apps.status",),
    "shutting_down": ("operations.list",),
}
ANYTIME = ("platform.check", "platform.info")


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
    if not pending and capability.untrusted:
        wrapper = Wrapper()
        for path, mark in capability.untrusted:
            result = applied(result, path, partial(wrapper.inside, what=mark.what))
    if isinstance(result, dict):  # the schema knows no null: what has no value is not there
        result = {name: value for name, value in result.items() if value is not None}
    else:
        result = {"result": result}
    body = orjson.dumps(result)
    # Not as the SDK's models: every call would pay for building and taking them apart again.
    return {"content": [{"type": "text", "text": body.decode()}], "structuredContent": result, "resultType": "complete"}


def failure(error: IkomaError, request_id: str, may_call: Collection[str]) -> CallToolResult:
    """A failure that says what to do: code, one sentence, hint and the next safe call.

    Args:
        may_call: names of the capabilities that this caller may call.
    """
    quoted = {key: value for key, value in error.details.items() if key not in _OURS}
    if error.audit_message != error.message:
        quoted = {"message": error.message, **quoted}
    said: dict[str, Any] = {"code": error.code, "error": error.audit_message, "hint": error.hint}
    said |= {key: value for key, value in error.details.items() if key in _OURS}
    if safe := next((name for name in (*NEXT.get(error.code, ()), *ANYTIME) if name in may_call), None):
        said["next"] = safe.replace(".", "_")
    said["requestId"] = request_id
    if quoted:
        said["details"] = Wrapper().wrap(_pretty(quoted), "what the failure quotes")
    return CallToolResult(content=[TextContent(text=_text(said))], is_error=True)


# Details that hold only our own words: names of arguments, what would be lost, tokens.
_OURS = frozenset({"arguments", "summary", "confirmation", "expiresAt", "retryAfter"})


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
