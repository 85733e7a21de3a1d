"""apps.logs: what an app's containers say."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from ikoma.apps.observation.logs import LogQuery, parse_since
from ikoma.capabilities.context import Call
from ikoma.errors import NotFollowing
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, ReleaseId, Role


class AppsLogsRequest(AppRequest):
    service: str | None = Field(default=None, max_length=200)
    release: ReleaseId | None = None
    """Also one that failed, is starting or was left."""
    tail: int = Field(default=100, ge=1, le=5000)
    """The last lines."""
    since: str | None = Field(default=None, max_length=60)
    """10m, 2h, 1d or a time."""
    grep: str | None = Field(default=None, min_length=1, max_length=200)
    """Only lines with this text."""
    timestamps: bool = False
    follow: bool = False
    """Stream new lines; not over MCP."""
    seconds: int = Field(default=600, ge=1, le=3600)
    """How long to follow."""


class AppsLogsResult(Result):
    lines: Annotated[list[str], Untrusted("container logs")]
    """Oldest first; with the service in front where there are several."""
    truncated: bool
    more: str | None
    """How to see what is not shown."""
    note: str = make_optional("")
    """Tells whose lines these are where nothing of the app runs, and whose else there are."""


@capability("apps.logs", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "look",
    "logs",
    "Show what an app's containers say; --follow goes on.",
    by_hand=True,
    text_alone=True,
    not_over_mcp=("follow", "seconds"),
    says=count_field("lines", "line"),
)
async def logs(call: Call, request: AppsLogsRequest) -> AppsLogsResult:
    """Read the last lines of an app's containers, also of stopped ones; secrets are hidden.

    Use it when a deploy failed or an app is unhealthy.
    """
    app = call.find_app(request.app_name)
    query = LogQuery(
        service=request.service,
        release=request.release,
        tail=request.tail,
        since=parse_since(request.since) if request.since else None,
        grep=request.grep,
        timestamps=request.timestamps,
    )
    if request.follow and call.emit is None:
        raise NotFollowing()
    said = await call.platform.logs.read_last(app, query)
    if request.follow and call.emit is not None:
        if said.note:
            call.progress(said.note, None)
            await asyncio.sleep(0)  # it goes before the lines
        for line in said.lines:
            await call.emit(line)
        with suppress(TimeoutError):
            async with asyncio.timeout(request.seconds):
                await follow_until(call.stopping, call.platform.logs.follow(app, query, call.emit))
        return AppsLogsResult(lines=[], truncated=False, more=None)
    more = None
    if said.cut:
        more = "There are earlier lines: ask for a larger `tail`, or narrow with `since`, `service` or `grep`."
    elif not said.lines:
        more = "No line is there, or none that fits; apps.status shows which containers there are."
    if said.starting is not None:
        more = f"{said.starting} is starting: ask with it as `release` for its lines. {more or ''}".strip()
    return AppsLogsResult(lines=list(said.lines), truncated=said.cut, more=more, note=said.note)


async def follow_until(stopping: asyncio.Event, following: Coroutine[Any, Any, None]) -> None:
    """Follow until the server stops."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(following), asyncio.create_task(stopping.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
