"""Resources that only one service at a time may have: a host port, an address, a volume or a folder it writes.

A release may give such a thing to another service than the one before, as when a service gets another name. What has
it stops before the other one starts: a database server that two run is broken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources, find_sources, find_written
from ikoma.compose.x_ikoma import ROLLING

_PORT, _ADDRESS, _VOLUME, _FOLDER = "host port", "address", "volume", "folder"
_DATA = (_VOLUME, _FOLDER)


@dataclass(frozen=True, slots=True)
class ExclusiveResource:
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
        """The reason why two containers with it cannot run at once."""
        if self.is_data:
            return f"two of it must not write the {self.said} at once"
        if self.kind == _ADDRESS:
            return f"it has an address of its own in the network {self.key[0]}"
        return f"it has the {self.said}"

    def meets(self, other: ExclusiveResource) -> bool:
        """Whether two services cannot both have theirs. A folder holds all that is below it."""
        if self.kind != other.kind:
            return False
        shorter = min(len(self.key), len(other.key)) if self.kind == _FOLDER else None
        return self.key[:shorter] == other.key[:shorter]


def find_exclusive(app: App, model: ComposeModel, service: str, source: Sources) -> Iterator[ExclusiveResource]:
    """All that a service of a resolved model has for itself."""
    if (described := model.services.get(service)) is None:
        return
    for port in described.ports:
        if port.is_chosen:
            yield ExclusiveResource(_PORT, (port.protocol, port.published), f"host port {port.published}")
    for network, joined in described.networks.items():
        if address := joined.get("ipv4_address"):
            yield ExclusiveResource(_ADDRESS, (network, str(address)), f"address {address}")
    for mount in find_written(model, service, source):
        if mount.is_volume:
            named = model.volumes.get(mount.source, {}).get("name")
            yield ExclusiveResource(_VOLUME, (str(named or mount.source),), f"volume {mount.source}")
        else:
            folder = Path(os.path.realpath(mount.source))
            yield ExclusiveResource(
                _FOLDER, folder.parts, f"folder {os.path.relpath(folder, os.path.realpath(app.path))}"
            )


def find_conflicts(
    app: App, model: ComposeModel, service: str, source: Sources, before: ComposeModel
) -> list[ExclusiveResource]:
    """Find what a service has for itself that its earlier containers may have too: all of it where nothing is known."""
    found = list(find_exclusive(app, model, service, source))
    if service not in before.services:
        return found
    had = list(find_exclusive(app, before, service, find_sources(app, before)))
    return [resource for resource in found if any(resource.meets(other) for other in had)]


def find_preempted(
    app: App,
    before: ComposeModel,
    after: ComposeModel,
    service: str,
    source: Sources,
    strategy: str | None,
) -> dict[str, str]:
    """Other services that must stop before this one starts, each with what it gives up to it.

    Args:
        before: the model of what serves; empty where nothing does.
        after: the model that is to serve.
        source: the source of `after`.
        strategy: that of the service.
    """
    wanted = [
        resource
        for resource in find_exclusive(app, after, service, source)
        if strategy != ROLLING or not resource.is_data
    ]
    if not wanted:
        return {}
    found: dict[str, str] = {}
    held_from = find_sources(app, before)
    for other in before.services:
        if other == service:
            continue
        keeps = list(find_exclusive(app, after, other, source))
        for resource in find_exclusive(app, before, other, held_from):
            gives_up = not any(resource.meets(kept) for kept in keeps)
            if gives_up and any(resource.meets(mine) for mine in wanted):
                found.setdefault(other, resource.said)
    return found
