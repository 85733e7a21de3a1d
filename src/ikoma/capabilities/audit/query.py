"""audit.query: what was done, tried and refused."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role
from ikoma.moments import EntryTime


class AuditQueryRequest(Request):
    app_name: str | None = None
    capability: str | None = None
    caller: str | None = None
    result: Literal["started", "success", "error"] | None = None
    since: EntryTime | None = None
    until: EntryTime | None = None
    limit: int = Field(default=50, ge=1, le=1000)


class AuditQueryResult(Result):
    entries: list[dict[str, Any]]
    """Newest last."""
    truncated: bool
    """Whether there are earlier ones: a larger limit or an earlier `until` shows them."""
    odd: int
    """Lines that were read and are no entries; audit.verify says where."""


@capability("audit.query", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed(
    "audit",
    "audit",
    "Show what was done, tried and refused.",
    by_hand=True,
    says=count_field("entries", "entry", "entries"),
)
async def query(call: Call, request: AuditQueryRequest) -> AuditQueryResult:
    """The last entries of the audit log that match, oldest first.

    Use it to find out who changed what, and what was refused.
    """

    def wanted(entry: dict[str, Any]) -> bool:
        app = entry["arguments"].get("appName")
        reached = call.role >= Role.ADMIN and not call.caller.apps if app is None else call.caller.reaches(str(app))
        return (
            reached
            and request.app_name in (None, app)
            and request.capability in (None, entry["capability"])
            and request.caller in (None, entry["caller"])
            and request.result in (None, entry["result"])
            and (request.since is None or request.since <= entry["timestamp"])
            and (request.until is None or entry["timestamp"] <= request.until)
        )

    entries, odd = await asyncio.to_thread(call.platform.audit.read_last, request.limit + 1, wanted, request.since)
    return AuditQueryResult(entries=entries[-request.limit :], truncated=len(entries) > request.limit, odd=odd)
