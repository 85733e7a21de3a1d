"""Headers that the HTTP door reads, and the checks that hold for every request, whatever its path.

A page that a browser has loaded from elsewhere must not reach a server on the loopback address by making its own
name point there: a Host that is a name is taken only when it is known, and an Origin only when it is this server's.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from ikoma.errors import (
    HostNotAllowed,
    IkomaError,
    MethodNotAllowed,
    OriginNotAllowed,
    RateLimited,
    ShuttingDown,
    TooManyFailures,
    Unauthenticated,
)
from ikoma.kernel.call import LOCAL
from ikoma.transports import envelope

Headers = Mapping[bytes, bytes]
_JSON = b"application/json"
_MOST_KNOWN = 1000
_RESTART_SECONDS = b"5"


def read_key(headers: Headers) -> str | None:
    """The API key or token: X-Api-Key, or else a bearer token."""
    given = read_text(headers.get(b"x-api-key"))
    bearer = read_text(headers.get(b"authorization")) or ""
    return given or (bearer[7:].strip() if bearer[:7].lower() == "bearer " else None)


def read_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1").strip()


def read_length(headers: Headers) -> int:
    """Content-Length; 0 where the request does not say."""
    declared = headers.get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


def read_address(scope: Scope) -> str:
    """The client's address, or this machine where it came through a socket file."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else LOCAL


def make_base_url(scope: Scope) -> str:
    """This server as the client knows it."""
    host = read_text(dict(scope["headers"]).get(b"host")) or "localhost"
    return f"{scope.get('scheme', 'http')}://{host}"


def guard_app(app: ASGIApp, allowed_hosts: Sequence[str]) -> ASGIApp:
    """Wrap an application so that it answers for known names of this server only."""
    allowed = frozenset(name.lower() for name in allowed_hosts)
    known: set[tuple[bytes | None, bytes | None]] = set()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            pair = headers.get(b"host"), headers.get(b"origin")
            if pair not in known:
                if (error := find_problem(scope, allowed)) is not None:
                    await refuse(send, error)
                    return
                if len(known) < _MOST_KNOWN:
                    known.add(pair)
        await app(scope, receive, send)

    return guard


def find_problem(scope: Scope, allowed: frozenset[str]) -> IkomaError | None:
    """Find what is wrong with the Host or the Origin of a request; None where they are this server's."""
    given = dict(scope["headers"])
    host, origin = read_text(given.get(b"host")) or "", read_text(given.get(b"origin"))
    if not _is_known(_name(f"//{host}"), allowed):
        return HostNotAllowed(f"This server is not known as {host[:80]!r}.")
    if origin and not _is_own(origin, host, allowed):
        return OriginNotAllowed(f"Pages of {origin[:80]!r} may not call this server.")
    return None


async def refuse(
    send: Send, error: IkomaError, more: Sequence[tuple[bytes, bytes]] | None = None, *, request_id: str = ""
) -> None:
    """Answer with the error's envelope."""
    body = envelope.make_failure(request_id or secrets.token_hex(12), error)
    await answer(send, error.status, body, list_accompanying(error) if more is None else more)


async def answer(send: Send, status: int, body: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def list_accompanying(error: IkomaError) -> list[tuple[bytes, bytes]]:
    """The headers that go with a refusal."""
    if isinstance(error, RateLimited | TooManyFailures):
        return [(b"retry-after", str(error.details["retryAfter"]).encode())]
    if isinstance(error, ShuttingDown):
        return [(b"retry-after", _RESTART_SECONDS)]
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'ApiKey realm="ikoma"')]
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", b"POST")]
    return []


def _is_known(name: str, allowed: frozenset[str]) -> bool:
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    try:
        ipaddress.ip_address(name)  # an address can't be made to point elsewhere
    except ValueError:
        return False
    return True


def _is_own(origin: str, host: str, allowed: frozenset[str]) -> bool:
    name = _name(origin)
    return urlsplit(origin).netloc.lower() == host.lower() or name in allowed or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
