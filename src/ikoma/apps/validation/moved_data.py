"""Findings of data that would be left behind: a service is to have another volume or folder where it had one.

What was written stays where it is, and the service begins with nothing. That is what the file says, and often not
what is meant: a volume gets a name, or another one, or becomes a folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App, is_empty_folder
from ikoma.apps.releases.release import Releases
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import EMPTY, ComposeModel, Mount, Service
from ikoma.compose.mounts import find_sources, find_written
from ikoma.compose.paths import locate
from ikoma.ports.engine_facts import EngineTraits
from ikoma.ports.volumes import ExistingResources


@dataclass(frozen=True, slots=True)
class _Place:
    """The place where data lies, or is to lie: a volume by its name, or a folder by its path."""

    name: str
    """"" where nothing can be brought."""
    spoken: str = ""
    make: str = ""
    """The command that makes it, where it is a volume that is not there yet."""
    is_anonymous: bool = False
    """Whether the volume has no name of its own: another mount without a name goes on with it."""


def find_left_behind(
    app: App, source: Source, model: ComposeModel, there: ExistingResources, traits: EngineTraits
) -> list[Finding]:
    """Find what services of the release that serves have written and would not have afterwards.

    Args:
        there: what is there already.
    """
    current = Releases(app).find_current()
    before = Releases(app).read_model(current.id) if current else EMPTY
    existing, anonymous = there.volumes, there.anonymous
    found = []
    for name in before.services:
        had = {
            os.path.normpath(target): _Place(volume, f"the unnamed volume {volume}", is_anonymous=True)
            for target, volume in anonymous.get(name, {}).items()
        }
        if (service := model.services.get(name)) is None:
            found += [_make_finding(source, name, target, place) for target, place in had.items()]
            continue
        for mount in find_written(before, name, find_sources(app, before)):
            if (place := _find_old(app, before, mount, existing)) is not None:
                had[os.path.normpath(mount.target)] = place
        found += _compare(app, source, model, service, had, existing, traits)
    return found


def _make_finding(source: Source, service: str, target: str, place: _Place) -> Finding:
    problem = f"{service} is gone, and what it has written in {target} with it: that lies in {place.spoken}."
    fix = f"Call the service {service} again if another is to go on with it; if not, nothing is to do."
    return Finding(*source.locate("services"), problem, fix)


def _compare(
    app: App,
    source: Source,
    model: ComposeModel,
    service: Service,
    had: Mapping[str, _Place],
    existing: Collection[str],
    traits: EngineTraits,
) -> Iterator[Finding]:
    for index, mount in enumerate(service.mounts):
        target = os.path.normpath(mount.target)
        old, new = had.get(target), _find_new(app, model, mount, existing, traits)
        if old is None or new is None or old.name == new.name or (old.is_anonymous and new.is_anonymous):
            continue
        problem = f"{service.name} begins with nothing in {target}: what it has written there is in {old.spoken}."
        copy = f"`docker run --rm -v {old.name}:/from:ro -v {new.name}:/to busybox cp -a /from/. /to/`"
        commands = f"{new.make} and {copy}" if new.make else copy
        fix = f"To take it along: deploy.down, then {commands}, then deploy. If it is not needed, nothing is to do."
        if not new.name:
            fix = "Write it as it was, if it is still needed."
        yield Finding(*source.locate("services", service.name, "volumes", index), problem, fix)


def _find_old(app: App, model: ComposeModel, mount: Mount, existing: Collection[str]) -> _Place | None:
    """The place where the data of a mount lies, if any is there."""
    if mount.is_volume:
        name = _name_volume(app, model, mount)
        return _Place(name, f"the volume {name}") if name in existing else None
    path = locate(mount.source).path
    return _Place(str(path), f"the folder {path}") if not _is_empty(path) and path.is_dir() else None


def _find_new(
    app: App, model: ComposeModel, mount: Mount, existing: Collection[str], traits: EngineTraits
) -> _Place | None:
    """The place that a mount leads to, if nothing can be there yet."""
    if mount.is_bind:
        path = locate(mount.source).path
        return _Place(str(path)) if _is_empty(path) else None
    if not mount.source:
        return _Place("", is_anonymous=mount.is_volume)
    name = _name_volume(app, model, mount)
    command = traits.word_volume_command(app.name.project, mount.source, name)
    return None if name in existing else _Place(name, make=f"`{command}`")


def _name_volume(app: App, model: ComposeModel, mount: Mount) -> str:
    return str(model.volumes.get(mount.source, {}).get("name") or f"{app.name.project}_{mount.source}")


def _is_empty(path: Path) -> bool:
    try:
        return not path.exists() or is_empty_folder(path)
    except OSError:
        return False
