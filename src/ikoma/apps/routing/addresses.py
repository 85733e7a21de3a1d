"""The addresses at which this machine reaches the service that answers HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ikoma.compose.compose_file import Web
from ikoma.ports.replicas import Replica


def list_addresses(web: Web, replicas: Iterable[Replica]) -> list[str]:
    """List where those replicas of the web service are reached that run: host:port, and each of them once."""
    found = (item.find_endpoint(web.port) for item in replicas if item.service == web.service)
    return list(dict.fromkeys(endpoint for endpoint in found if endpoint is not None))
