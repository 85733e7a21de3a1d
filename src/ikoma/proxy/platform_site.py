"""The control plane's own site: its HTTP and MCP doors under a name, encrypted, with limits. Pure: Caddy's words.

What is passed on goes through a socket that only Caddy's user can connect to. So the server knows that it came this
way, and believes the address of the client that Caddy names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.kernel.registry import SQL_BODY_LIMIT
from ikoma.proxy import pages
from ikoma.proxy.pages import Routes

_LARGEST_BODY = SQL_BODY_LIMIT + (1 << 20)
_CONNECTIONS = 256
_DIAL_TIMEOUT = "2s"
_IDLE_TIMEOUT = "30s"
_RESTART_SECONDS = "15s"
_TRY_INTERVAL = "100ms"
_YEAR = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class PlatformSite:
    """The name, and the socket at which the server listens for what comes by it."""

    domain: str
    socket: Path

    def build_routes(self) -> Routes:
        """Routes that pass requests on to the server. They wait while it restarts."""
        to_browsers = {"deferred": True, "set": {"Strict-Transport-Security": [_YEAR]}, "delete": ["Via", "Server"]}
        return [
            {
                "handle": [
                    {"handler": "headers", "response": to_browsers},
                    {"handler": "request_body", "max_size": _LARGEST_BODY},
                    self._build_reverse_proxy(),
                ]
            }
        ]

    def build_error_routes(self) -> Routes:
        """Routes that answer for this name when passing on has failed."""
        too_large = {"vars": {"{http.error.status_code}": ["413"]}, "host": [self.domain]}
        return [
            {"match": [too_large], **_answer(pages.REQUEST_TOO_LARGE)},
            {"match": [{"host": [self.domain]}], **_answer(pages.SERVER_AWAY)},
        ]

    def _build_reverse_proxy(self) -> dict[str, Any]:
        return {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"unix/{self.socket}"}],
            "load_balancing": {"try_duration": _RESTART_SECONDS, "try_interval": _TRY_INTERVAL},
            "headers": {"request": {"delete": ["Via"]}},
            "transport": {
                "protocol": "http",
                "versions": ["1.1"],
                "dial_timeout": _DIAL_TIMEOUT,
                "compression": False,
                "max_conns_per_host": _CONNECTIONS,
                "keep_alive": {"idle_timeout": _IDLE_TIMEOUT},
            },
        }


def _answer(page: pages.Page) -> dict[str, Any]:
    return {"handle": [{"handler": "subroute", "routes": page.build_routes()}], "terminal": True}
