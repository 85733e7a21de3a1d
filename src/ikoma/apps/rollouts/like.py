"""Finds the replica that a command's own one is made as."""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.releases.release import Release, Releases
from ikoma.compose.services import find_service
from ikoma.errors import NotDeployed
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import Runtime


async def find_like(runtime: Runtime, app: App, release: Release, service: str | None) -> Replica:
    """The replica that a command's own is made as: one of a service of the release that serves.

    Args:
        service: by default the one that answers requests.

    Raises:
        ServiceNotFound, NotDeployed: there is no replica of it.
    """
    model = Releases(app).read_model(release.id)
    name = service or str((release.web or {}).get("service") or next(iter(model.services)))
    find_service(app.name, model, name)
    found = (await runtime.observe(app)).services.get(name, ())
    if not found:
        raise NotDeployed(f"{name} of {app.name} has no container now.", hint="deploy.scale gives it one.")
    return min(found, key=lambda item: item.state != "running")
