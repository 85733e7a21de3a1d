"""release.diff: what is different between two deployments."""

from __future__ import annotations

import asyncio

from ikoma.apps import app_secrets, comparison
from ikoma.apps import release as records
from ikoma.apps.folder import App
from ikoma.apps.release import Releases
from ikoma.apps.snapshot_manifest import MANIFEST, Snapshot
from ikoma.capabilities.context import Call
from ikoma.errors import ReleaseNotFound
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, ReleaseId, Role

_MOST_FILES = 100


class Diff(AppRequest):
    release: ReleaseId | None = None
    """Default: the one that serves."""
    to: ReleaseId | None = None
    """Compared to this; default: the one before."""


class Changed(Result):
    service: str
    changes: list[str]
    """A line for each key; values of variables are not shown."""


class Image(Result):
    service: str
    before: str | None
    after: str | None


class Files(Result):
    added: list[str]
    changed: list[str]
    removed: list[str]
    count: int
    """How many there are in all; of each kind at most 100 are listed."""


class Differences(Result):
    release: str
    to: str
    added: list[str]
    """Services."""
    removed: list[str]
    changed: list[Changed]
    rest: list[str]
    """Changes outside the services."""
    images: list[Image]
    migrations: list[str]
    """Those that its database has, and that of the other had not."""
    source: Files


@capability("release.diff", role=Role.OBSERVER, effect=Effect.READS, rare=True)
async def diff(call: Call, request: Diff) -> Differences:
    """What a release changed against an earlier one: services, images, migrations and source files.

    Use it to find what broke an app.
    """
    app = call.app(request.app_name)
    releases = Releases(app)
    new = releases.find(request.release) if request.release else releases.require_current()
    old = releases.find(request.to) if request.to else _before(app, new)
    before, after = releases.model(old), releases.model(new)
    secrets = app_secrets.of_app(app)
    for release in (old, new):
        secrets += app_secrets.of_release(app, release)
    services = comparison.compare_services(before, after, secrets)
    return Differences(
        release=new.id,
        to=old.id,
        added=list(services.added),
        removed=list(services.removed),
        changed=[Changed(service=item.service, changes=list(item.lines)) for item in services.changed],
        rest=list(comparison.compare_rest(before, after, secrets)),
        images=_images(old, new),
        migrations=[name for name in new.migrations if name not in old.migrations],
        source=await asyncio.to_thread(_source, app, old, new),
    )


def _before(app: App, release: records.Release) -> records.Release:
    """The release that was good last before this one was made: one that was left again is nothing to compare with."""
    for item in Releases(app).all():
        if item.id < release.id and item.served_at is not None and item.state == records.SUCCEEDED:
            return item
    raise ReleaseNotFound(f"{app.name} has no release before {release.id} that served.")


def _images(old: records.Release, new: records.Release) -> list[Image]:
    pairs = {
        name: tuple(item.services[name].image if name in item.services else None for item in (old, new))
        for name in sorted({*old.services, *new.services})
    }
    return [
        Image(service=name, before=before, after=after) for name, (before, after) in pairs.items() if before != after
    ]


def _source(app: App, old: records.Release, new: records.Release) -> Files:
    files = comparison.compare_source(_snapshot(app, old), _snapshot(app, new))
    return Files(
        added=list(files.added[:_MOST_FILES]),
        changed=list(files.changed[:_MOST_FILES]),
        removed=list(files.removed[:_MOST_FILES]),
        count=len(files.added) + len(files.changed) + len(files.removed),
    )


def _snapshot(app: App, release: records.Release) -> Snapshot:
    """The source of a release; empty where its deploy was killed before it was kept."""
    try:
        return Snapshot.read(Releases(app).folder(release.id) / MANIFEST, app.path)
    except FileNotFoundError:
        return Snapshot(app.path, {})
