"""release.diff: what is different between two deployments."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.deploying import comparison, release_diff
from ikoma.apps.deploying.release_files import read_snapshot
from ikoma.apps.releases import release as records
from ikoma.apps.releases.release import Releases
from ikoma.apps.secrets import app_secrets
from ikoma.capabilities.context import Call
from ikoma.errors import ReleaseNotFound
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, FilePath, ReleaseId, Role

_MOST_FILES = 100


class ReleaseDiffRequest(AppRequest):
    release: ReleaseId | None = None
    """Default: the one that serves."""
    to: ReleaseId | None = None
    """Compared to this. Default: the one before."""
    path: FilePath | None = None
    """Lines of this file or folder alone."""
    limit: int = Field(default=65_536, ge=0, le=1_048_576)
    """The most characters of `diff`."""


class ReleaseDiffChanged(Result):
    service: str
    changes: Annotated[list[str], Untrusted("compose file", ours=True)]
    """A line for each key; values of variables are not shown."""


class ReleaseDiffImage(Result):
    service: str
    before: str | None
    after: str | None


class ReleaseDiffFiles(Result):
    added: list[str]
    changed: list[str]
    removed: list[str]
    count: int
    """How many there are in all; of each kind at most 100 are listed."""


class ReleaseDiffVariables(Result):
    added: list[str]
    changed: list[str]
    removed: list[str]


class ReleaseDiffResult(Result):
    release: str
    to: str
    added: list[str]
    """Services."""
    removed: list[str]
    changed: list[ReleaseDiffChanged]
    rest: Annotated[list[str], Untrusted("compose file", ours=True)]
    """Changes outside the services."""
    images: list[ReleaseDiffImage]
    migrations: list[str]
    """Migrations that its database has, and the other's had not."""
    migrations_gone: list[str]
    """Migrations that the other's had, and its has not."""
    variables: ReleaseDiffVariables
    """Their names."""
    source: ReleaseDiffFiles
    diff: Annotated[str, Untrusted("what the files hold")]
    """Lines of compose files and source that differ, unified; without values of variables."""
    truncated: bool
    """Whether there are more of them."""


@capability("release.diff", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("releases", "diff", "Compare two deployments of an app.", optional=("release", "to"))
async def diff(call: Call, request: ReleaseDiffRequest) -> ReleaseDiffResult:
    """Show what a release changed against an earlier one; services, images, migrations, variables, lines of its files.

    Use it to find what broke an app.
    """
    app = call.find_app(request.app_name)
    releases = Releases(app)
    new = releases.find(request.release) if request.release else releases.require_current()
    old = releases.find(request.to) if request.to else _find_before(app, new)
    before, after = releases.read_model(old.id), releases.read_model(new.id)
    secrets = app_secrets.find_of_app(app)
    for release in (old, new):
        secrets += app_secrets.find_of_release(app, release)
    services = comparison.compare_services(before, after, secrets)
    lines = partial(release_diff.compare_files, app, old, new, path=request.path, limit=request.limit)
    text, truncated = await asyncio.to_thread(lines)
    variables = release_diff.compare_variables(app, old, new)
    return ReleaseDiffResult(
        release=new.id,
        to=old.id,
        added=list(services.added),
        removed=list(services.removed),
        changed=[ReleaseDiffChanged(service=item.service, changes=list(item.lines)) for item in services.changed],
        rest=list(comparison.compare_rest(before, after, secrets)),
        images=_compare_images(old, new),
        migrations=[name for name in new.migrations if name not in old.migrations],
        migrations_gone=[name for name in old.migrations if name not in new.migrations],
        variables=ReleaseDiffVariables(
            added=list(variables.added), changed=list(variables.changed), removed=list(variables.removed)
        ),
        source=await asyncio.to_thread(_compare_source, app, old, new),
        diff=text,
        truncated=truncated,
    )


def _find_before(app: App, release: records.Release) -> records.Release:
    """The release that was good last before this one was made: one that was left again is nothing to compare with."""
    for item in Releases(app).list_all():
        if item.id < release.id and item.served_at is not None and item.state == records.SUCCEEDED:
            return item
    raise ReleaseNotFound(f"{app.name} has no release before {release.id} that served.")


def _compare_images(old: records.Release, new: records.Release) -> list[ReleaseDiffImage]:
    pairs = {
        name: tuple(item.services[name].image if name in item.services else None for item in (old, new))
        for name in sorted({*old.services, *new.services})
    }
    return [
        ReleaseDiffImage(service=name, before=before, after=after)
        for name, (before, after) in pairs.items()
        if before != after
    ]


def _compare_source(app: App, old: records.Release, new: records.Release) -> ReleaseDiffFiles:
    files = comparison.compare_source(read_snapshot(app, old), read_snapshot(app, new))
    return ReleaseDiffFiles(
        added=list(files.added[:_MOST_FILES]),
        changed=list(files.changed[:_MOST_FILES]),
        removed=list(files.removed[:_MOST_FILES]),
        count=len(files.added) + len(files.changed) + len(files.removed),
    )
