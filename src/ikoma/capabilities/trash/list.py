"""trash.list: removed apps that are kept."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field

from ikoma.apps.trash.entries import TrashEntry
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class TrashListRequest(Request):
    limit: int = Field(default=50, ge=1, le=1000)


class TrashListEntry(Result):
    id: str
    app: str
    removed_at: str
    caller: str
    """Key that removed it."""
    size: int
    holds: list[str]
    """folder, database, volumes."""


class TrashListResult(Result):
    page: ClassVar = ResultPage(
        rows="entries",
        columns=(
            Column("id"),
            Column("app", cut=True),
            Column("removed", "removedAt", "time"),
            Column("size", kind="size", right=True),
            Column("holds", cut=True),
            Column("by", "caller", cut=True, spare=True),
        ),
        empty="The trash is empty.",
    )
    entries: list[TrashListEntry]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("trash.list", role=Role.ADMIN, effect=Effect.READS, rare=True)
@listed(
    "server",
    "trash",
    "List removed apps that can be brought back.",
    not_over_mcp=("limit",),
    says=count_field("entries", "entry", "entries"),
)
async def listing(call: Call, request: TrashListRequest) -> TrashListResult:
    """List removed apps that are kept, newest first; when removed, size and content."""
    found = await asyncio.to_thread(call.platform.trash.list_entries)
    reached = [entry for entry in found if call.caller.reaches(entry.app)]
    described = await asyncio.to_thread(lambda: [_show_entry(entry) for entry in reached[: request.limit]])
    shown = [item for item in described if item.removed_at]  # the others were deleted a moment ago
    return TrashListResult(entries=shown, truncated=len(reached) > request.limit)


def _show_entry(entry: TrashEntry) -> TrashListEntry:
    return TrashListEntry(
        id=entry.path.name,
        app=entry.app,
        removed_at=entry.removed_at,
        caller=entry.caller,
        size=entry.measure(),
        holds=entry.list_parts(),
    )
