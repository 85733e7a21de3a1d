"""domain.remove: no longer reach an app by a name that was added."""

from __future__ import annotations

from collections.abc import Mapping

from ikoma.app_folder import App
from ikoma.apps.routing.domains import read_domains
from ikoma.capabilities.context import Call
from ikoma.capabilities.domain.list import DomainListResult, find_domains, find_named_in_compose
from ikoma.errors import DomainInCompose, DomainNotFound
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import DomainName, Effect, Role, quote_name


class DomainRemoveRequest(AppRequest):
    domain: DomainName


class DomainRemoveResult(DomainListResult):
    message: str


@capability("domain.remove", role=Role.BUILDER, effect=Effect.CHANGES, rare=True, undo="domain.add")
@listed("domains", "domain-remove", "Serve an app no longer under a domain.")
async def remove(call: Call, request: DomainRemoveRequest) -> DomainRemoveResult:
    """Serve an app no longer under a domain that was added."""
    app = call.find_app(request.app_name)
    named, added = find_named_in_compose(app), read_domains(app)
    if request.domain in added:
        await call.platform.routes.serve_domains(app, [name for name in added if name != request.domain])
    elif request.domain in named:
        raise DomainInCompose(f"{request.domain} stands in the compose file of {app.name}.")
    else:
        raise DomainNotFound(f"{app.name} has no domain {request.domain}.")
    left = await find_domains(call, app)
    return DomainRemoveResult(domains=left.domains, message=_word_removal(app, request.domain, named))


def _word_removal(app: App, domain: str, named: Mapping[str, str]) -> str:
    if domain not in named:
        return f"{app.name} is served no longer under {quote_name(domain)}."
    return (
        f"{quote_name(domain)} is no longer an added domain of {app.name}, but it stays: "
        "the compose file still names it. "
        "Remove it there too, and deploy."
    )
