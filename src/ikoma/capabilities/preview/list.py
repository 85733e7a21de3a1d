"""preview.list: the previews of an app."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.observation.health import UNKNOWN
from ikoma.apps.releases.release import Releases
from ikoma.apps.resolution.preview_files import Preview
from ikoma.apps.source import checkout
from ikoma.capabilities.context import Call
from ikoma.errors import EngineUnavailable
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class PreviewListRequest(AppRequest):
    limit: int = Field(default=50, ge=1, le=MOST_LISTED)


class PreviewListItem(Result):
    preview: str
    """Name of the preview: whatever takes an app's name takes it."""
    ref: str
    commit: str | None
    health: str
    urls: list[str]
    database: bool
    """Whether it has a copy of the app's database."""
    caller: str
    created_at: str
    expires_at: str


class PreviewListResult(Result):
    page: ClassVar = ResultPage(
        rows="previews",
        columns=(
            Column("preview"),
            Column("ref", cut=True),
            Column("health", kind="state"),
            Column("ends", "expiresAt", "time"),
            Column("address", "urls", "address"),
            Column("by", "caller", cut=True, spare=True),
        ),
        empty='It has no previews: deploy.preview {"ref": "REF"} makes one.',
    )
    previews: list[PreviewListItem]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("preview.list", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("previews", "previews", "List the previews of an app.", says=count_field("previews", "preview"))
async def listing(call: Call, request: PreviewListRequest) -> PreviewListResult:
    """The previews of an app; refs, addresses, and when they end."""
    found = call.platform.previews.list_of(call.find_app(request.app_name))
    items = await asyncio.gather(*(_make_item(call, item, record) for item, record in found[: request.limit]))
    return PreviewListResult(previews=items, truncated=len(found) > request.limit)


async def _make_item(call: Call, item: App, record: Preview) -> PreviewListItem:
    try:
        seen = (await call.platform.health.observe(item)).health
    except EngineUnavailable:
        seen = UNKNOWN
    brought = checkout.read_record(item)
    return PreviewListItem(
        preview=item.name,
        ref=record.ref,
        commit=brought.commit if brought else None,
        health=seen,
        urls=list(call.platform.routes.list_urls(item, Releases(item).find_current())),
        database=record.database,
        caller=record.caller,
        created_at=record.created_at,
        expires_at=record.expires_at,
    )
