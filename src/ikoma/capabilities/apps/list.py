"""apps.list: every app this key reaches."""

from __future__ import annotations

import asyncio

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.observation.health import UNKNOWN
from ikoma.capabilities.context import Call
from ikoma.errors import EngineUnavailable
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class AppsListRequest(Request):
    limit: int = Field(default=100, ge=1, le=MOST_LISTED)


class AppsListItem(Result):
    name: str
    health: str
    release: str | None
    urls: list[str]
    maintenance: bool = False
    """Whether people get a page that says so instead of the app."""
    trouble: str | None = None
    """Why its health is unknown."""


class AppsListResult(Result):
    apps: list[AppsListItem]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("apps.list", role=Role.OBSERVER, effect=Effect.READS)
@listed("look", "list", "List all apps.", says=count_field("apps", "app"))
async def listing(call: Call, request: AppsListRequest) -> AppsListResult:
    """All apps with their health, the release that serves, and where they answer.

    Use it to find an app's name or to see what runs here.
    """
    platform = call.platform
    names = [name for name in platform.apps.list_names() if call.caller.reaches(name)]
    apps = [platform.apps.locate(name) for name in names[: request.limit]]
    items = await asyncio.gather(*(_make_item(call, app) for app in apps))
    return AppsListResult(apps=items, truncated=len(names) > request.limit)


async def _make_item(call: Call, app: App) -> AppsListItem:
    try:
        seen = await call.platform.health.observe(app)
    except EngineUnavailable as error:
        return AppsListItem(name=app.name, health=UNKNOWN, release=None, urls=[], trouble=error.message)
    release = seen.release.id if seen.release else None
    trouble = seen.checks["state"].details if "state" in seen.checks else None
    return AppsListItem(
        name=app.name,
        health=seen.health,
        release=release,
        urls=list(seen.urls),
        maintenance=seen.maintenance,
        trouble=trouble,
    )
