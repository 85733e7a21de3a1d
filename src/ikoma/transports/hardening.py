"""Headers by which every answer tells a browser, whichever door or error it comes from: keep this to yourself.

An answer of the API is never shown as a page, framed, sniffed, cached or read by another site's page. A page of ours
says itself, in its own Content-Security-Policy, what it holds. What fails unforeseen gets the envelope as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ikoma.errors import IkomaError
from ikoma.transports import headers

Pair = tuple[bytes, bytes]

ALWAYS: tuple[Pair, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_POLICY: Pair = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE: Pair = (b"cache-control", b"no-store")
_NO_STORE_STREAM: Pair = (b"cache-control", b"no-store, no-transform")


def harden_app(app: ASGIApp) -> ASGIApp:
    """Wrap an application: these headers on every answer, and an answer to every failure."""

    async def harden(scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def passing(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = add_headers(message.get("headers", ()))
            await send(message)

        try:
            await app(scope, receive, passing)
        except Exception:
            if not has_started:
                await headers.refuse(passing, IkomaError())
            raise  # the server logs it

    return harden


def add_headers(given: Iterable[Pair]) -> list[Pair]:
    """An answer's headers and ours. Only its own Content-Security-Policy comes before ours."""
    policy, cache = _POLICY, _NO_STORE
    kept = []
    for pair in given:
        if pair[0] == b"cache-control":
            cache = _NO_STORE_STREAM if b"no-transform" in pair[1] else cache
            continue
        if pair[0] == b"content-security-policy":
            policy = pair
            continue
        kept.append(pair)
    return [*kept, *ALWAYS, policy, cache]
