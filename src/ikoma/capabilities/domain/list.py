"""domain.list: the names by which an app is reached."""

from __future__ import annotations

from pydantic import Field

from ikoma.apps.folder import App
from ikoma.apps.release import Releases
from ikoma.apps.traffic import domains_of
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import MOST_LISTED, AppRequest, Result, capability
from ikoma.model import Effect, Role


class List(AppRequest):
    limit: int = Field(default=100, ge=1, le=MOST_LISTED)


class Domain(Result):
    name: str
    source: str
    """compose, or added."""
    url: str | None
    """None before the app is deployed."""
    kind: str
    """domain, or redirect to one."""


class Domains(Result):
    domains: list[Domain]
    truncated: bool = False
    """Whether there are more: a larger limit shows them."""


@capability("domain.list", role=Role.OBSERVER, effect=Effect.READS, rare=True)
async def list_domains(call: Call, request: List) -> Domains:
    """List an app's domains, those of the compose file that serves and those added."""
    found = domains(call, call.app(request.app_name)).domains
    return Domains(domains=found[: request.limit], truncated=len(found) > request.limit)


def domains(call: Call, app: App) -> Domains:
    """All names of an app, as they are now."""
    urls = call.platform.traffic.domain_urls(app)
    named = named_in_compose(app)
    found = [(name, "compose", kind) for name, kind in named.items()]
    found += [(name, "added", "domain") for name in domains_of(app) if name not in named]
    return Domains(
        domains=[Domain(name=name, source=source, url=urls.get(name), kind=kind) for name, source, kind in found]
    )


def named_in_compose(app: App) -> dict[str, str]:
    """Name → domain or redirect, as the compose file says that serves."""
    release = Releases(app).current()
    extension = release.extension if release else {}
    return {name: kind for kind in ("domain", "redirect") for name in extension.get(f"{kind}s") or ()}
