"""What only one service at a time may have: a host port, a fixed address, a volume or a folder that it writes.

A release may give such a thing to another service than the one before, as when a service gets another name. What has
it stops before the other one starts: a database server that two run is broken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.apps.app import App
from ikoma.apps.compose.mounts import Sources, sources, written
from ikoma.apps.compose.x_ikoma import ROLLING

_PORT, _ADDRESS, _VOLUME, _FOLDER = "host port", "address", "volume", "folder"
_DATA = (_VOLUME, _FOLDER)


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a service has for itself. `key` tells whether it is the same as another's."""

    kind: str
    key: tuple[str, ...]
    said: str

    @property
    def is_data(self) -> bool:
        """Whether two could have it that know how to share it."""
        return self.kind in _DATA

    @property
    def reason(self) -> str:
        """Why two containers with it cannot run at once."""
        if self.is_data:
            return f"two of it must not write the {self.said} at once"
        if self.kind == _ADDRESS:
            return f"it has an address of its own in the network {self.key[0]}"
        return f"it has the {self.said}"

    def meets(self, other: Claim) -> bool:
        """Whether two services cannot both have theirs. A folder holds all that is below it."""
        if self.kind != other.kind:
            return False
        shorter = min(len(self.key), len(other.key)) if self.kind == _FOLDER else None
        return self.key[:shorter] == other.key[:shorter]


def claims(app: App, model: Mapping[str, Any], service: str, source: Sources) -> Iterator[Claim]:
    """All that a service of a resolved model has for itself."""
    described: Mapping[str, Any] = model["services"].get(service) or {}
    for port in published(described):
        yield Claim(_PORT, (str(port.get("protocol", "tcp")), str(port["published"])), f"host port {port['published']}")
    for network, joined in networks(described).items():
        if address := (joined or {}).get("ipv4_address"):
            yield Claim(_ADDRESS, (network, str(address)), f"address {address}")
    for mount in written(model, service, source):
        if mount["type"] == "volume":
            named = ((model.get("volumes") or {}).get(mount["source"]) or {}).get("name")
            yield Claim(_VOLUME, (str(named or mount["source"]),), f"volume {mount['source']}")
        else:
            folder = Path(os.path.realpath(mount["source"]))
            yield Claim(_FOLDER, folder.parts, f"folder {os.path.relpath(folder, os.path.realpath(app.path))}")


def contested(
    app: App, model: Mapping[str, Any], service: str, source: Sources, before: Mapping[str, Any]
) -> list[Claim]:
    """What a service has for itself that its containers of before may have too: all of it where nothing is known."""
    found = list(claims(app, model, service, source))
    if service not in (before.get("services") or {}):
        return found
    had = list(claims(app, before, service, sources(app, before)))
    return [claim for claim in found if any(claim.meets(other) for other in had)]


def displaced(
    app: App,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    service: str,
    source: Sources,
    wish: str | None,
) -> dict[str, str]:
    """Other services that must stop before this one starts, each with what it gives up to it.

    Args:
        before: the model of what serves; empty where nothing does.
        after: the model that is to serve.
        source: the source of `after`.
        wish: the strategy of the service.
    """
    wanted = [claim for claim in claims(app, after, service, source) if wish != ROLLING or not claim.is_data]
    if not wanted or not before:
        return {}
    found: dict[str, str] = {}
    held_from = sources(app, before)
    for other in before["services"]:
        if other == service:
            continue
        keeps = list(claims(app, after, other, source))
        for claim in claims(app, before, other, held_from):
            gives_up = not any(claim.meets(kept) for kept in keeps)
            if gives_up and any(claim.meets(mine) for mine in wanted):
                found.setdefault(other, claim.said)
    return found


def published(service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ports of a service that have a host port of its own choice."""
    return [port for port in service.get("ports") or [] if port.get("published") not in (None, "", "0")]


def networks(service: Mapping[str, Any]) -> Mapping[str, Any]:
    joined = service.get("networks")
    return joined if isinstance(joined, Mapping) else {}
