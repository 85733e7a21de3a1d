"""Settles which service of a resolved compose file is routed: its ports on this machine are then not needed.

Validation, plan, deploy and verification look at the model that is made here, so that they cannot disagree: its x-ikoma
block names the service. A host port of that service which cannot be had is left out, because requests reach it through
the proxy. Ports of other services are never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.apps.compose_file import Web
from ikoma.apps.folder import App
from ikoma.apps.host_ports import published_range, taken_ports
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.rules import Place, Violation
from ikoma.apps.web_service import Choice, choose, pinned
from ikoma.errors import IkomaError, InvalidCompose
from ikoma.ports import Engine

LOW_PORT, PLATFORM_PORT = "low-port", "platform-port"

_FIRST_FREE = 1024
_OF_THE_PROXY = (80, 443)
"""Host ports that mean HTTP and HTTPS, whatever they lead to: the proxy answers there."""
_LARGEST_DOCKERFILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A port of the routed service that is not published, and why."""

    place: Place
    port: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A resolved model as it is deployed. `choice` is None where its x-ikoma block is wrong."""

    model: Mapping[str, Any]
    choice: Choice | None
    unpublished: tuple[Unpublished, ...] = ()

    def hides(self, violation: Violation) -> bool:
        """Whether a violation is of a port that is not published."""
        return self.leaves_out(violation.place) and violation.rule in (LOW_PORT, PLATFORM_PORT)

    def leaves_out(self, place: Place) -> bool:
        """Whether a place of the model before is that of a port which is not published."""
        return any(place[: len(item.place)] == item.place for item in self.unpublished)


class WebServices:
    """Settles models."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        self._engine = engine
        self._policy = policy

    async def settle(self, app: App, model: Mapping[str, Any]) -> Settled:
        """The model with the choice written down, and without ports that are not needed and cannot be had."""
        try:
            choice = choose(model, await asyncio.to_thread(_dockerfiles, app, model))
        except InvalidCompose:
            return Settled(model, None)
        unpublished = await self._unpublished(app, model, choice.web) if choice.web else ()
        return Settled(_without(pinned(model, choice.web), choice.web, unpublished), choice, unpublished)

    async def _unpublished(self, app: App, model: Mapping[str, Any], web: Web) -> tuple[Unpublished, ...]:
        service = model["services"][web.service]
        taken = await taken_ports(
            app.name, {"services": {web.service: service}}, self._engine, self._policy.is_platform
        )
        holders = {item.index: item.holder for item in reversed(taken) if not item.is_of_this_app}
        low = LOW_PORT not in self._policy.waived(app)
        found = []
        for index, port in enumerate(service.get("ports") or []):
            wanted = published_range(str(port.get("published") or "")) or range(0)
            if not wanted or wanted == range(1) or not _is_of_requests(port, wanted, web):
                continue
            reason = self._why_not(wanted, holders.get(index), low=low)
            if reason:
                found.append(Unpublished(("services", web.service, "ports", index), str(port["published"]), reason))
        return tuple(found)

    def _why_not(self, wanted: range, holder: str | None, *, low: bool) -> str | None:
        """Why a host port cannot be had; None where it can."""
        if any(map(self._policy.is_platform, wanted[:_FIRST_FREE])):
            return "IKOMA itself has it"
        if holder:
            return f"{holder} has it"
        return "ports below 1024 are the server's own" if low and wanted.start < _FIRST_FREE else None


def _is_of_requests(port: Mapping[str, Any], wanted: range, web: Web) -> bool:
    """Whether a published port leads to what the proxy leads to anyway."""
    if wanted.start in _OF_THE_PROXY and len(wanted) == 1:
        return True
    return str(port.get("target")) == str(web.port) and str(port.get("protocol") or "tcp") == "tcp"


def _without(model: Mapping[str, Any], web: Web | None, unpublished: tuple[Unpublished, ...]) -> Mapping[str, Any]:
    if web is None or not unpublished:
        return model
    service = dict(model["services"][web.service])
    gone = {item.place[-1] for item in unpublished}
    service["ports"] = [port for index, port in enumerate(service["ports"]) if index not in gone]
    return {**model, "services": {**model["services"], web.service: service}}


def _dockerfiles(app: App, model: Mapping[str, Any]) -> dict[str, str]:
    """Service → text of its Dockerfile, as far as it lies in the app's folder."""
    found = {}
    for name, service in (model.get("services") or {}).items():
        build = service.get("build")
        if build and "dockerfile_inline" not in build:
            with suppress(IkomaError, OSError, ValueError):
                path = Path(str(build.get("context") or ""), str(build.get("dockerfile") or "Dockerfile"))
                found[name] = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
    return found
