"""Where this machine reaches the service that answers HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ikoma.compose.compose_file import Web
from ikoma.ports.engine import Container


def list_addresses(web: Web, containers: Iterable[Container]) -> list[str]:
    """List where those containers of the web service are reached that run: host:port."""
    return [
        f"{item.addresses[0]}:{web.port}"
        for item in containers
        if item.service == web.service and item.state == "running" and item.addresses
    ]
