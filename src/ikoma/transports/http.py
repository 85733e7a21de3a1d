"""The HTTP door: translate, call the pipeline, translate back.

`POST /execute/<capability>` calls a capability. With `Accept: application/x-ndjson` the answer of a long call is a
stream: lines {"progress": …} while it works, {"line": …} of what it reads, at last the envelope. A client that goes
away does not end what its call changes.
"""

from __future__ import annotations

import asyncio
import html
import random
import re
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ikoma.apps.backups.downloads import BackupDownloads
from ikoma.apps.source.webhook import Webhooks
from ikoma.errors import IkomaError, MethodNotAllowed, NotFound
from ikoma.kernel.call import Attempt, CallAnswer, Emit
from ikoma.kernel.pipeline import Pipeline
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.transports import envelope, headers, openapi
from ikoma.transports.body import read_object
from ikoma.transports.downloads import PREFIX as DOWNLOADS
from ikoma.transports.downloads import DownloadEndpoint
from ikoma.transports.outbox import Outbox
from ikoma.transports.webhooks.endpoint import PREFIX, WebhookEndpoint
from ikoma.web import guides
from ikoma.web.page import HERE
from ikoma.web.policy import make_content_security_policy
from ikoma.web.reference import render_reference

_PREFIX = "/execute/"
_PREFER = re.compile(rb"\bwait\s*=\s*(\d{1,4})\b")
_STREAM = b"application/x-ndjson"


class Summary(Protocol):
    """The facts that GET /health tells anyone: version, and how many apps are healthy."""

    async def __call__(self) -> Mapping[str, Any]: ...


def make_http_app(pipeline: Pipeline, summary: Summary, hooks: Webhooks | None, downloads: BackupDownloads) -> ASGIApp:
    """The ASGI application; without `hooks` it has no API, only what tells of the server."""
    if hooks is None:
        return Starlette(routes=[Route("/health", _serve_health(summary))], exception_handlers=_HANDLERS)
    pages = Starlette(
        routes=[
            Route("/", lambda request: RedirectResponse("/docs")),
            Route("/docs", _serve_docs(pipeline)),
            Route("/docs/guides/{name:path}", _serve_guide),
            Route("/openapi.json", _serve_openapi(pipeline)),
            Route("/capabilities", _serve_capabilities(pipeline)),
            Route("/health", _serve_health(summary)),
        ],
        exception_handlers=_HANDLERS,
    )
    execute, deliver = ExecuteEndpoint(pipeline), WebhookEndpoint(pipeline, hooks)
    hand_out = DownloadEndpoint(downloads)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The one hot path does not go through the router.
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            await execute(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await deliver(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(DOWNLOADS):
            await hand_out(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return app


class ExecuteEndpoint:
    """POST /execute/<capability>."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])
        request_id = f"{random.getrandbits(96):024x}"  # a name for the call, not a secret
        if scope["method"] != "POST":
            error = MethodNotAllowed(f"{scope['method']} does not call a capability.")
            await headers.refuse(send, error, request_id=request_id)
            return
        attempt = Attempt(
            capability=scope["path"].removeprefix(_PREFIX),
            key=headers.read_key(given),
            role=headers.read_text(given.get(b"x-role")),
            request_id=request_id,
            read_arguments=lambda limit: read_object(scope, receive, limit),
            idempotency_key=headers.read_text(given.get(b"idempotency-key")) or None,
            wait=_parse_preferred_wait(given),
            asks=given.get(b"x-confirm") == b"ask",
            address=headers.read_address(scope),
        )
        if _STREAM in given.get(b"accept", b""):
            await self._stream(attempt, receive, send)
            return
        try:
            answer = await self._pipeline.execute(attempt, ignore_progress)
        except IkomaError as error:
            await headers.refuse(send, error, request_id=request_id)
        else:
            await headers.answer(send, _choose_status(answer), envelope.make_success(request_id, answer.body))

    async def _stream(self, attempt: Attempt, receive: Receive, send: Send) -> None:
        """Lines from the first one on; a call that has none is answered like any other.

        A client that goes away ends what only it was told; work that changes something goes on as its operation.
        """
        outbox = Outbox()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            working.cancel()

        working = asyncio.ensure_future(self._answer(attempt, outbox.put_progress, outbox.emit))
        working.add_done_callback(lambda _: outbox.end())
        line = await outbox.take_next()
        if line is None:
            await headers.answer(send, *await working)
            return
        described = [(b"content-type", _STREAM), (b"x-request-id", attempt.request_id.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": described})
        watching = asyncio.ensure_future(watch())
        try:
            while line is not None:
                await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
                line = await outbox.take_next()
        finally:
            watching.cancel()
            working.cancel()  # an end that nobody waits for any more
        if working.cancelled():
            return
        _, body, _ = await working
        await send({"type": "http.response.body", "body": body + b"\n"})

    async def _answer(
        self, attempt: Attempt, progress: Progress, emit: Emit
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        try:
            answer = await self._pipeline.execute(attempt, progress, emit)
        except IkomaError as error:
            return error.status, envelope.make_failure(attempt.request_id, error), headers.list_accompanying(error)
        return _choose_status(answer), envelope.make_success(attempt.request_id, answer.body), []


def _parse_preferred_wait(given: headers.Headers) -> float | None:
    """`Prefer: wait=SECONDS` (RFC 7240): after that, the answer is 202 with the operation that goes on."""
    found = _PREFER.search(given.get(b"prefer", b""))
    return float(found[1]) if found else None


def _choose_status(answer: CallAnswer) -> int:
    return 200 if answer.operation is None else 202


def _serve_docs(pipeline: Pipeline) -> Any:
    @cache  # made when someone asks for it, in a thread: few do, and each start would pay for it
    def made() -> tuple[str, dict[str, str]]:
        page = render_reference(pipeline.registry, guides.list_guides())
        return page, {"Content-Security-Policy": make_content_security_policy(page)}

    def shown(request: Request) -> Response:
        page, policy = made()
        here = html.escape(headers.make_base_url(request.scope))  # a name that it is known by: the guard has seen to it
        return HTMLResponse(page.replace(HERE, here), headers=policy)

    return shown


def _serve_guide(request: Request) -> Response:
    page = guides.render_guide(request.path_params["name"].removesuffix(".md"))
    if page is None:
        raise NotFound
    return HTMLResponse(page, headers={"Content-Security-Policy": make_content_security_policy(page)})


def _serve_openapi(pipeline: Pipeline) -> Any:
    @cache
    def made() -> bytes:
        return orjson.dumps(openapi.make_document(pipeline.registry))

    return lambda request: Response(made(), media_type="application/json")


def _serve_capabilities(pipeline: Pipeline) -> Any:
    async def listing(request: Request) -> Response:
        given = dict(request.scope["headers"])
        allowed = set(
            await pipeline.authentication.list_visible(
                headers.read_key(given), headers.read_text(given.get(b"x-role")), headers.read_address(request.scope)
            )
        )
        described = [
            {
                "name": item.name,
                "role": str(item.role),
                "effect": item.effect.value,
                "description": item.description,
                "allowed": item in allowed,
                "request": openapi.make_request_schema(item),
            }
            for item in pipeline.registry
        ]
        return Response(orjson.dumps({"capabilities": described}), media_type="application/json")

    return listing


def _serve_health(summary: Summary) -> Any:
    async def health(request: Request) -> Response:
        return Response(orjson.dumps(await summary()), media_type="application/json")

    return health


async def _record_refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        more = dict(error.headers or {})
        error = MethodNotAllowed() if error.status_code == 405 else NotFound()
    elif not isinstance(error, IkomaError):
        error, more = IkomaError(), {}  # the server logs it
    else:
        more = {name.decode(): value.decode() for name, value in headers.list_accompanying(error)}
    body = envelope.make_failure(secrets.token_hex(12), error)
    return Response(body, error.status, more, media_type="application/json")


_HANDLERS: Mapping[Any, Any] = {HTTPException: _record_refused, IkomaError: _record_refused, Exception: _record_refused}
