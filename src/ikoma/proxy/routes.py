"""The routes that were applied last: checked, written down, and read again when Caddy must be started anew.

A name that gets into Caddy's configuration is a host name and nothing else: braces would be replaced there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ikoma.durable import write_file
from ikoma.errors import ProxyRefused
from ikoma.model import AppName
from ikoma.ports.proxy import Route

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})+")
_LOCAL = ".localhost"
_PRIVATE = (_LOCAL, ".internal", ".local", ".lan", ".home", ".corp", ".home.arpa", ".test", ".example", ".invalid")
_MOST_UPSTREAMS = 1000


def list_local_names(route: Route) -> list[str]:
    """Names that no authority signs and that need no encryption: they never leave the machine."""
    return [route.app.host, *(name for name in route.domains if name.endswith(_LOCAL))]


def list_public_names(route: Route) -> list[str]:
    return [name for name in route.domains if not name.endswith(_LOCAL)]


def is_private(name: str) -> bool:
    """Whether a name exists on private networks alone (RFC 6761, RFC 8375), so that no authority signs for it."""
    return name.endswith(_PRIVATE)


def list_names(route: Route) -> list[str]:
    """List all names by which an app is reached, those that only lead to another included."""
    return [route.app.host, *route.domains, *route.redirects]


def find_owner(routes: Sequence[Route], name: str) -> AppName | None:
    """Find the app that is served under a name."""
    return next((item.app for item in routes if name in list_names(item)), None)


def check(routes: Sequence[Route]) -> None:
    """ProxyRefused where a route is wrong in itself, or two want the same."""
    owners: dict[str | int, AppName] = {}
    for route in routes:
        for problem in _find_problems(route):
            raise ProxyRefused(f"The route of {route.app} is wrong: {problem}.")
        wants: list[str | int] = [route.port, *list_names(route)]
        for wanted in wants:
            if wanted in owners:
                raise ProxyRefused(f"{wanted} is wanted twice, by {owners[wanted]} and {route.app}.")
            owners[wanted] = route.app


def _find_problems(route: Route) -> Iterator[str]:
    for name in (*route.domains, *route.redirects, *route.redirects.values()):
        if not _DOMAIN.fullmatch(name):
            yield f"{name!r} is no domain"
    if not 0 < route.port < 65536:
        yield f"{route.port} is no port"
    if not 0 < route.upstreams <= _MOST_UPSTREAMS:
        yield f"{route.upstreams} upstreams"
    if route.hold < 0 or (route.timeout is not None and route.timeout <= 0):
        yield "a duration is negative"
    if route.largest_body is not None and route.largest_body <= 0:
        yield f"{route.largest_body} bytes as the largest body"


class RouteBook:
    """The file that remembers the routes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, routes: Sequence[Route]) -> None:
        content = json.dumps([_dump_route(route) for route in routes], indent=1)
        if not self._path.is_file() or self._path.read_text() != content:
            write_file(self._path, content, mode=0o600)

    def read(self) -> list[Route]:
        try:
            return [_read_route(kept) for kept in json.loads(self._path.read_text())]
        except FileNotFoundError:
            return []


_UPSTREAMS = "slots"
"""The name of the number of upstreams in the file, as versions before have written it."""


def _dump_route(route: Route) -> dict[str, Any]:
    return {_UPSTREAMS if key == "upstreams" else key: value for key, value in asdict(route).items()}


def _read_route(kept: Mapping[str, Any]) -> Route:
    fields = {"upstreams" if key == _UPSTREAMS else key: value for key, value in kept.items()}
    return Route(**fields | {"app": AppName(kept["app"]), "domains": tuple(kept["domains"])})
