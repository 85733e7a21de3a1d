"""domain.add: reach an app by one more name."""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.releases.release import Releases
from ikoma.apps.routing.domains import read_domains
from ikoma.capabilities.context import Call
from ikoma.capabilities.domain.list import DomainListResult, find_domains, find_named_in_compose
from ikoma.errors import DomainInCompose, NoWebService
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import DomainName, Effect, Role


class DomainAddRequest(AppRequest):
    domain: DomainName


@capability(
    "domain.add", role=Role.BUILDER, effect=Effect.CHANGES, idempotent=True, open_world=True, undo="domain.remove"
)
@listed("domains", "domain-add", "Serve an app under one more domain.", says=count_field("domains", "domain"))
async def add(call: Call, request: DomainAddRequest) -> DomainListResult:
    """Serve an app under one more domain; the certificate comes by itself.

    Use it when the name points to this server.
    """
    app, routes = call.find_app(request.app_name), call.platform.routes
    routes.check_domains(app, [request.domain])
    await _require_route(call, app)
    named, added = find_named_in_compose(app), read_domains(app)
    if named.get(request.domain) == "redirect":
        raise DomainInCompose(f"The compose file of {app.name} redirects {request.domain} to another name.")
    if request.domain not in (*named, *added):
        await routes.serve_domains(app, [*added, request.domain])
    return await find_domains(call, app)


async def _require_route(call: Call, app: App) -> None:
    """Refuse where no service answers the app's requests: neither in the release that serves nor in the next."""
    release = Releases(app).find_current()
    if (release is not None and release.web is not None) or not app.compose_file.is_file():
        return
    choice = await call.platform.validator.choose_routing(app)
    if choice is None or choice.web is not None:
        return
    if choice.declined:
        raise NoWebService(f"{app.name} answers no HTTP, as its x-ikoma block says.")
    raise NoWebService(choice.problem, hint=f"{choice.advice} Then call deploy.up, and this again.")
