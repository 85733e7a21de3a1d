"""Volumes without a name, which images declare: which ones the services of an app have had their data in.

Docker forgets them with the last container that had them. The data stays all the same, as that of named ones does: a
service that comes back gets it again, and what removes the app removes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.docker.containers import AnonymousVolume, Container
from ikoma.ports.progress import Progress

_FILE = "volumes.json"


def read_noted(app: App) -> dict[str, list[AnonymousVolume]]:
    """service → its volumes, the one that it had last at the end."""
    return app.read_state(_FILE, _parse_carried) or {}


def _parse_carried(stored: Mapping[str, Any]) -> dict[str, list[AnonymousVolume]]:
    return {service: [AnonymousVolume(**volume) for volume in volumes] for service, volumes in stored.items()}


def note(app: App, found: Mapping[str, Sequence[AnonymousVolume]]) -> None:
    """Remember these volumes of services beside those that are known."""
    known = read_noted(app)
    merged = dict(known)
    for service, volumes in found.items():
        merged[service] = [*(item for item in known.get(service, ()) if item not in volumes), *volumes]
    if merged != known:
        content = {service: [asdict(volume) for volume in volumes] for service, volumes in merged.items()}
        write_file(app.make_state() / _FILE, orjson.dumps(content), mode=0o600)


async def find_last(engine: ComposeEngine, app: App, services: Sequence[str]) -> dict[str, list[AnonymousVolume]]:
    """Find, for services without a container, the volumes that they had last and that are still there."""
    known = {service: volumes for service, volumes in read_noted(app).items() if service in services}
    present = await engine.map_owners() if known else {}
    last = {
        service: {volume.target: volume for volume in volumes if volume.name in present}
        for service, volumes in known.items()
    }
    return {service: list(by_target.values()) for service, by_target in last.items() if by_target}


async def list_all(engine: ComposeEngine, app: App) -> list[str]:
    """Names of all that are there, of services with containers and of those without."""
    names = {volume.name for volumes in read_noted(app).values() for volume in volumes}
    for item in await engine.list_containers(app.name):
        names |= {volume.name for volume in await engine.list_anonymous_volumes(item.id)}
    return sorted(names & set(await engine.map_owners())) if names else []


async def map_held(engine: ComposeEngine, containers: Sequence[Container]) -> dict[str, Sequence[AnonymousVolume]]:
    """Find the volumes without a name that these containers have their data in; service → volumes."""
    return {item.service: found for item in containers if (found := await engine.list_anonymous_volumes(item.id))}


async def remove_with(engine: ComposeEngine, app: App, progress: Progress) -> None:
    """Remove an app's containers, networks and all its volumes, those without a name too."""
    known = await list_all(engine, app)
    await engine.take_down(app.name, volumes=True, progress=progress)
    for name in known:
        await engine.remove_volume(name)
