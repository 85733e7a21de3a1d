"""What IKOMA reads from a compose file besides what Compose itself makes of it.

`Web` is how the app answers HTTP, as the `x-ikoma` block says or, without one, as a healthcheck's URL shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.apps import extension
from ikoma.errors import InvalidCompose
from ikoma.ports import Container

_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(/[^\s\"'|;&)]*)?")


@dataclass(frozen=True, slots=True)
class Web:
    """The service that answers HTTP, its port inside the container, and the path that says all is well."""

    service: str
    port: int
    path: str

    def addresses(self, containers: Iterable[Container]) -> list[str]:
        """Where this machine reaches those containers of the service that run: host:port."""
        return [
            f"{item.addresses[0]}:{self.port}"
            for item in containers
            if item.service == self.service and item.state == "running" and item.addresses
        ]


def web(model: Mapping[str, Any]) -> Web | None:
    """How the app answers HTTP, or None where nothing says so.

    Raises:
        InvalidCompose: the x-ikoma block is there and wrong.
    """
    block = model.get("x-ikoma")
    services: Mapping[str, Any] = model.get("services") or {}
    if block is None:
        return next(_from_healthchecks(services), None)
    extension.read(model)
    if "health" not in block and "port" not in block:
        return next(_from_healthchecks(services), None)
    service = block.get("service") or (next(iter(services)) if len(services) == 1 else "web")
    if not isinstance(service, str) or service not in services:
        raise InvalidCompose(f"x-ikoma: there is no service {str(service)[:80]!r}.")
    port, path = str(block.get("port", "")), str(block.get("health", "/health"))
    if not is_port(port):
        raise InvalidCompose(f"x-ikoma: port is {port[:40]!r}; it takes the port the service listens on.")
    if not re.fullmatch(r"/[!-~]*", path):
        raise InvalidCompose(f"x-ikoma: health is {path[:200]!r}; it takes a path that begins with /.")
    return Web(service, int(port), path)


def has_address(service: Mapping[str, Any]) -> bool:
    """Whether a service's containers are in networks of their own, not in another's or in none."""
    mode = str(service.get("network_mode") or "")
    return mode != "none" and not mode.startswith("service:")


def uses_database(model: Mapping[str, Any], service: str) -> bool:
    """Whether a service may get the app's database credentials: all may, unless `x-ikoma: database:` names some."""
    block = model.get("x-ikoma")
    listed = block.get("database") if isinstance(block, Mapping) else None
    return service in listed if isinstance(listed, list | Mapping) else listed is not False


def one_shot_services(model: Mapping[str, Any]) -> set[str]:
    """Services that run once: others wait for them with service_completed_successfully."""
    return {
        name
        for service in (model.get("services") or {}).values()
        for name, need in (service.get("depends_on") or {}).items()
        if need.get("condition") == "service_completed_successfully"
    }


def _from_healthchecks(services: Mapping[str, Any]) -> Iterator[Web]:
    for name, service in services.items():
        test = (service.get("healthcheck") or {}).get("test")
        found = _URL.search(" ".join(test) if isinstance(test, list) else str(test or ""))
        if found and has_address(service) and is_port(port := found[1] or "80"):
            yield Web(name, int(port), found[2] or "/")


def is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535
