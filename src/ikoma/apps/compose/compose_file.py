"""What IKOMA reads from a compose file besides what Compose itself makes of it.

`Web` is how the app answers HTTP; web_service.py says which service does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ikoma.ports.engine import Container

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Web:
    """The service that answers HTTP, its port inside the container, and the path that says all is well."""

    service: str
    port: int
    path: str | None
    """None where no path is known: then the port must take connections."""
    named: bool = True
    """Whether the app itself names the path; where not, any answer counts that is no failure of the server."""

    def addresses(self, containers: Iterable[Container]) -> list[str]:
        """Where this machine reaches those containers of the service that run: host:port."""
        return [
            f"{item.addresses[0]}:{self.port}"
            for item in containers
            if item.service == self.service and item.state == "running" and item.addresses
        ]


def encoded(model: Mapping[str, Any]) -> bytes:
    """A model as a file for Compose, which reads JSON as YAML: signs that end lines there are written by number."""
    text = orjson.dumps(model, option=orjson.OPT_INDENT_2).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def has_address(service: Mapping[str, Any]) -> bool:
    """Whether a service's containers are in networks of their own, not in another's, the server's or in none."""
    mode = str(service.get("network_mode") or "")
    return mode not in ("none", "host") and not mode.startswith(("service:", "container:"))


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


def is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535
