"""Limits of how many containers a service of the release that serves may be given, and their reasons."""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.releases.release import Release, Releases
from ikoma.compose import x_ikoma
from ikoma.compose.mounts import find_sources
from ikoma.compose.services import find_service
from ikoma.compose.single import explain_one
from ikoma.errors import CannotRunTwice, WebNeeded
from ikoma.ports.runtime import Runtime


async def require_scalable(runtime: Runtime, app: App, release: Release, service: str, replicas: int) -> None:
    """Refuse a number of containers that a service of the release that serves cannot have.

    Raises:
        ServiceNotFound, CannotRunTwice, WebNeeded
    """
    model = Releases(app).read_model(release.id)
    find_service(app.name, model, service)
    extension = release.x_ikoma
    if replicas == 0 and release.web and release.web["service"] == service:
        raise WebNeeded(f"{service} answers the requests of {app.name}: it needs a container.")
    if replicas < 2:
        return
    reason = explain_one(app, model, service, find_sources(app, model), extension.find_strategy(service))
    shares = extension.find_strategy(service) == x_ikoma.ROLLING
    if reason is None and not shares and await runtime.keeps_own_data(app, service):
        reason = "it keeps data in a volume without a name"
    if reason:
        raise CannotRunTwice(f"Two containers of {service} cannot run at once: {reason}.")
