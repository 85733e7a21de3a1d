"""release.pin: keep a release whatever its age."""

from __future__ import annotations

from dataclasses import replace

from ikoma.apps.releases.release import Releases
from ikoma.capabilities.context import Call
from ikoma.capabilities.release.list import ReleaseListRelease, describe_release
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, ReleaseId, Role


class ReleasePinRequest(AppRequest):
    release: ReleaseId
    pinned: bool = True


@capability("release.pin", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, rare=True, undo="release.pin")
@listed("releases", "pin", "Keep a release whatever its age.")
async def pin(call: Call, request: ReleasePinRequest) -> ReleaseListRelease:
    """Keep a release whatever its age, or no longer."""
    releases = Releases(call.find_app(request.app_name))
    release = replace(releases.find(request.release), pinned=request.pinned)
    releases.write(release)
    return ReleaseListRelease(**describe_release(release, releases.find_current()))
