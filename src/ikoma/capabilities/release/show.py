"""release.show: all that is known of one deployment."""

from __future__ import annotations

import asyncio
from typing import Annotated

from ikoma.app_folder import App
from ikoma.apps.releases import release as records
from ikoma.apps.releases.release import Releases
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot
from ikoma.capabilities.context import Call
from ikoma.capabilities.release.list import ReleaseListRelease, describe_release
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.kernel.sentences import Fields
from ikoma.model import Effect, ReleaseId, Role


class ReleaseShowRequest(AppRequest):
    release: ReleaseId | None = None
    """Default: the one that serves, else the newest."""


class ReleaseShowService(Result):
    name: str
    image: str | None
    """Id of the image that it runs."""
    scale: int
    one_shot: bool


class ReleaseShowSource(Result):
    files: int
    bytes: int


class ReleaseShowResult(ReleaseListRelease):
    logs: Annotated[list[str], Untrusted("container logs")]
    """Last lines of the service that failed."""
    answer: Annotated[str | None, Untrusted("the app's answer")] = make_optional()
    """Answer of its health path, where it failed by that."""
    answer_status: int | None = make_optional()
    """The HTTP status of that answer."""
    healthcheck: Annotated[str | None, Untrusted("output of the healthcheck")] = make_optional()
    """Output of its healthcheck, where it failed by that."""
    output: Annotated[list[str], Untrusted("output of the release command")]
    """Output of its release command."""
    services: list[ReleaseShowService]
    migrations: list[str]
    """Migrations of its database."""
    applied: list[str]
    """Migrations that it applied."""
    domains: list[str]
    """Domains in its compose file."""
    environment: list[str]
    """Names of the variables that it was made with."""
    source: ReleaseShowSource | None
    next: Next | None = None


def _say_state(fields: Fields) -> str:
    serves = ", and serves" if fields.get("current") else ""
    return f"Release {fields.get('id')} {fields.get('state')}{serves}."


@capability("release.show", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "releases",
    "release",
    "Show one deployment of an app.",
    optional=("release",),
    not_in_text=("id", "state", "current"),
    says=_say_state,
)
async def show(call: Call, request: ReleaseShowRequest) -> ReleaseShowResult:
    """Show one deployment: who, when, why, how it ended, services, migrations and source.

    Use it to see why one failed.
    """
    app = call.find_app(request.app_name)
    releases = Releases(app)
    release = releases.find(request.release) if request.release else _find_default(releases)
    return ReleaseShowResult(
        **describe_release(release, releases.find_current()),
        logs=list(release.logs),
        answer=release.answer or None,
        answer_status=release.answer_status,
        healthcheck=release.healthcheck or None,
        output=list(release.output),
        services=[
            ReleaseShowService(name=name, image=record.image, scale=record.scale, one_shot=record.one_shot)
            for name, record in release.services.items()
        ],
        migrations=list(release.migrations),
        applied=list(release.applied),
        domains=[*release.extension.get("domains", ()), *release.extension.get("redirects", ())],
        environment=sorted(releases.read_variables(release)),
        source=await asyncio.to_thread(_measure_source, app, release),
        next=_choose_next(releases, release),
    )


def _find_default(releases: Releases) -> records.Release:
    """The one that serves, or did last; where none ever has, the newest of those that failed."""
    if (
        releases.find_current() is None
        and releases.find_last_good() is None
        and (newest := releases.find_latest()) is not None
    ):
        return newest
    return releases.require_current()


def _choose_next(releases: Releases, release: records.Release) -> Next | None:
    """The lines of one that failed; from the one that serves, a later one that did not come to it."""
    if release.state == records.FAILED:
        return Next("apps.logs", {"release": release.id})
    latest = releases.find_latest()
    failed = latest is not None and latest.id > release.id and latest.state == records.FAILED
    return Next("release.show", {"release": latest.id}) if latest and failed else None


def _measure_source(app: App, release: records.Release) -> ReleaseShowSource | None:
    """The size of its source; None where nothing is kept of it."""
    try:
        snapshot = Snapshot.read(Releases(app).locate_folder(release.id) / MANIFEST, app.path)
    except FileNotFoundError:
        return None
    files = [entry for entry in snapshot.entries.values() if entry.kind == "file"]
    return ReleaseShowSource(files=len(files), bytes=sum(entry.size for entry in files))
