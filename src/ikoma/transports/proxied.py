"""Requests that the proxy passes on from the network, under the server's own name.

They come by a socket to which only the proxy's user can connect. So its word for who the client is, and that the
connection is encrypted, is believed there and nowhere else; uvicorn puts both into the scope.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from ikoma.errors import RateLimited
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.transports import headers

_WINDOW_MS = 10_000
_MOST_REQUESTS = 600
_NETWORK = 64


def serve_proxied(app: ASGIApp, domain: Callable[[], str | None]) -> ASGIApp:
    """Wrap an application: it answers under the name that the server has now, and to nobody too often.

    Args:
        domain: the server's name now; None where it has none any more.
    """
    limit = RateLimit(_WINDOW_MS, _MOST_REQUESTS, of="from this address")

    async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
        name = domain()
        try:
            limit.count(_find_network(headers.read_address(scope)))
        except RateLimited as error:
            await headers.refuse(send, error)
            return
        problem = headers.find_problem(scope, frozenset([name] if name else []))
        if problem is not None:
            await headers.refuse(send, problem)
            return
        await app(scope, receive, send)

    return pass_on


def _find_network(address: str) -> str:
    """Find what one client may choose addresses from: of IPv6 it often has a whole network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, _NETWORK), strict=False))
