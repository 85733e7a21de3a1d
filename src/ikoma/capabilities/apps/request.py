"""apps.request: what an app answers to its visitors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikoma.apps.routing.request import visit
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, RequestPath, Role
from ikoma.readable import decode_text


class AppsRequestRequest(AppRequest):
    path: RequestPath = Field(default=RequestPath("/"))
    """With its query."""
    method: Literal["GET", "HEAD"] = "GET"
    domain: str | None = Field(default=None, max_length=253)
    """Default: its first domain, or APP.localhost."""
    limit: int = Field(default=65_536, ge=1, le=1_048_576)
    """The most bytes of the body."""
    timeout: int = Field(default=20, ge=1, le=60)
    """Seconds."""


class AppsRequestResult(Result):
    url: str
    status: int
    headers: Annotated[dict[str, str], Untrusted("headers of the app's answer")]
    body: Annotated[str, Untrusted("the app's answer")]
    encoding: str
    """utf-8; or binary, and nothing of it is shown."""
    size: int
    """Bytes that were read."""
    truncated: bool
    """Whether there was more."""
    duration_ms: int


@capability("apps.request", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed(
    "look",
    "request",
    "Ask an app for a page, as its visitors do.",
    optional=("path",),
    says_more=True,
    text_alone=True,
    not_in_text=("status", "url", "durationMs"),
    says=lambda fields: f"{fields.get('status')} {fields.get('url')}",
)
async def request_app(call: Call, request: AppsRequestRequest) -> AppsRequestResult:
    """Ask an app for a page as its visitors do, through the proxy. Redirects are shown, not followed.

    Use it to see what people see. Next: apps.logs.
    """
    app = call.find_app(request.app_name)
    entrance = call.platform.routes.find_entrance(app, request.domain)
    answer = await visit(entrance, request.path, method=request.method, limit=request.limit, seconds=request.timeout)
    text = decode_text(answer.body, is_part=not answer.is_whole)
    return AppsRequestResult(
        url=answer.url,
        status=answer.status,
        headers=dict(answer.headers),
        body=text or "",
        encoding="binary" if text is None else "utf-8",
        size=len(answer.body),
        truncated=not answer.is_whole,
        duration_ms=round(answer.seconds * 1000),
    )
