"""domain.list: the names by which an app is reached, where they point, and their certificates."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.releases.release import Releases
from ikoma.apps.routing import certificates
from ikoma.apps.routing.certificates import Certificate
from ikoma.apps.routing.dns import DnsTarget
from ikoma.apps.routing.domains import read_domains
from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role

_SECONDS = 3.0
"""For name servers, and for the proxy, of all names at once."""


class DomainListRequest(AppRequest):
    limit: int = Field(default=100, ge=1, le=MOST_LISTED)


class Domain(Result):
    name: str
    source: str
    """compose, or added."""
    url: str | None
    """None before the app is deployed."""
    kind: str
    """domain, or redirect to one."""
    addresses: list[str]
    """Where it points."""
    here: bool | None
    """Whether that is this server; None where it cannot be told."""
    pointing: str
    record: str | None
    """Record to set at its name server, where it does not point here."""
    certificate: str
    issuer: str | None
    expires: str | None
    trouble: Annotated[str | None, Untrusted("what the authority answered", ours=True)]
    """Why it has no certificate, as the proxy was told."""


class DomainListResult(Result):
    domains: list[Domain]
    truncated: bool = False
    """Whether there are more: a larger limit shows them."""


@capability("domain.list", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("domains", "domains", "List the domains of an app.", says=count_field("domains", "domain"))
async def list_domains(call: Call, request: DomainListRequest) -> DomainListResult:
    """List an app's domains; where each points, the record to set where that is not here, and its certificate."""
    return await find_domains(call, call.find_app(request.app_name), request.limit)


async def find_domains(call: Call, app: App, limit: int = MOST_LISTED) -> DomainListResult:
    """The names of an app, as they are now."""
    named = find_named_in_compose(app)
    found = [(name, "compose", kind) for name, kind in named.items()]
    found += [(name, "added", "domain") for name in read_domains(app) if name not in named]
    urls = call.platform.routes.list_domain_urls(app)
    looked = await asyncio.gather(*(_look(call, app, *item, urls.get(item[0])) for item in found[:limit]))
    return DomainListResult(domains=list(looked), truncated=len(found) > limit)


def find_named_in_compose(app: App) -> dict[str, str]:
    """Name → domain or redirect, as the compose file says that serves."""
    release = Releases(app).find_current()
    extension = release.extension if release else {}
    return {name: kind for kind in ("domain", "redirect") for name in extension.get(f"{kind}s") or ()}


async def _look(call: Call, app: App, name: str, source: str, kind: str, url: str | None) -> Domain:
    pointing, (certificate, why) = await asyncio.gather(
        call.platform.dns.look_up(name, _SECONDS), _find_certificate(call, app, name)
    )
    trouble = None
    if certificate is None and why is None:
        trouble = await asyncio.to_thread(call.platform.routes.find_certificate_trouble, name)
    return Domain(
        name=name,
        source=source,
        url=url,
        kind=kind,
        addresses=list(pointing.addresses),
        here=pointing.here,
        pointing=pointing.said,
        record=pointing.record,
        certificate=certificate.said if certificate else f"None: {why or _explain_waiting(call, pointing)}",
        issuer=certificate.issuer if certificate else None,
        expires=certificate.ends if certificate else None,
        trouble=trouble,
    )


async def _find_certificate(call: Call, app: App, name: str) -> tuple[Certificate | None, str | None]:
    """The certificate that visitors get; or why there can be none."""
    try:
        entrance = call.platform.routes.find_entrance(app, name)
    except IkomaError as error:
        return None, error.message
    if not entrance.encrypted:
        return None, _explain_unencrypted(call)
    return await certificates.read_certificate(entrance, name, _SECONDS), None


def _explain_unencrypted(call: Call) -> str:
    if call.platform.settings.proxy_tls == "off":
        return "PROXY_TLS is off, so names are served without encryption."
    if call.platform.settings.proxy_https_port == 0:
        return "PROXY_HTTPS_PORT is 0, so names are served without encryption."
    obstacles = call.platform.routes.describe_condition()["obstacles"]
    return str(obstacles.get("PROXY_HTTPS_PORT") or "The proxy does not listen for HTTPS.")


def _explain_waiting(call: Call, pointing: DnsTarget) -> str:
    """The reason why the proxy has no certificate for a name that it serves."""
    if call.platform.settings.proxy_tls == "internal":
        return "it is being made; ask again in a moment."
    if pointing.here is False:
        return "the authority gives one when the name points to this server."
    return "the authority has not given one yet; it must reach this server on port 80 or 443."
