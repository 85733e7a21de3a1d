"""Settles which service of a resolved compose file is routed: its ports on this machine are then not needed.

Validation, plan, deploy and verification look at the model that is made here, so that they cannot disagree: its x-ikoma
block names the service. A host port of that service which cannot be had is left out, because requests reach it through
the proxy. Ports of other services are never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ikoma.app_folder import App
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.resolution.mounted_text import read_mounted_text
from ikoma.apps.resolution.own_proxy import OwnProxy, find_kind, find_own_proxies, sends_to_https
from ikoma.apps.yaml.violation import Place, Violation
from ikoma.compose.compose_file import Web
from ikoma.compose.dockerfiles import read_dockerfiles
from ikoma.compose.model import ComposeModel, Port, parse_published
from ikoma.compose.web_service import Choice, choose, pin
from ikoma.errors import InvalidCompose
from ikoma.ports.runtime import Runtime

LOW_PORT, PLATFORM_PORT = "low-port", "platform-port"

_FIRST_FREE = 1024
_ANY_PORT = range(1)
"""Port 0: the engine takes a free one."""
_OF_THE_PROXY = (80, 443)
"""Host ports that mean HTTP and HTTPS, whatever they lead to: the proxy answers there."""


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A port of the routed service that is not published, and why."""

    place: Place
    port: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A resolved model as it is deployed. `choice` is None where its x-ikoma block is wrong."""

    model: ComposeModel
    choice: Choice | None
    unpublished: tuple[Unpublished, ...] = ()
    own_proxies: tuple[OwnProxy, ...] = ()
    """Reverse proxies of the app's own that cannot stay as they are."""
    in_front: OwnProxy | None = None
    """One that is routed, though the service behind it could be."""
    goes_round: bool = False
    """Whether the routed service sends to HTTPS whom IKOMA's proxy brings from there."""

    def leave_out_unused(self, model: ComposeModel) -> ComposeModel:
        """The model before without the services that are to be left out: what they lack is nobody's concern."""
        gone = {name for item in self.own_proxies for name in item.gone}
        return model.drop_services(gone) if gone else model

    def hides(self, violation: Violation) -> bool:
        """Whether a violation is of a port that is not published, or of a service whose finding is to leave it out."""
        gone = any(violation.place[:2] == ("services", name) for item in self.own_proxies for name in item.gone)
        return gone or (self.leaves_out(violation.place) and violation.rule in (LOW_PORT, PLATFORM_PORT))

    def add_fix(self, violation: Violation) -> Violation:
        """A violation with what mends it where it is of a port of a service that could be the one that answers."""
        if violation.rule not in (LOW_PORT, PLATFORM_PORT) or self.choice is None or len(violation.place) != 4:
            return violation
        _, name, _, index = violation.place
        could = next((item for item in self.choice.candidates if item.service == name and item.port), None)
        if could is None or could.port is None:
            return violation
        port = self.model.services[str(name)].ports[int(index)]
        wanted = parse_published(port.published) or range(0)
        if not wanted or not _is_of_requests(port, wanted, Web(could.service, could.port, None)):
            return violation
        return replace(
            violation,
            instead=f"If {name} answers the app's requests, add under `x-ikoma:` `service: {name}` and "
            f"`port: {could.port}`: they reach it through IKOMA's proxy, and this port is not published. "
            "Else publish another host port, or none.",
        )

    def leaves_out(self, place: Place) -> bool:
        """Whether a place of the model before is that of a port which is not published, or told of otherwise."""
        if any(place[:3] == ("services", item.service, "ports") for item in self.own_proxies):
            return True
        return any(place[: len(item.place)] == item.place for item in self.unpublished)


class WebServices:
    """Settles models."""

    def __init__(self, runtime: Runtime, policy: Policy) -> None:
        self._runtime = runtime
        self._policy = policy

    async def settle(self, app: App, model: ComposeModel) -> Settled:
        """The model with the choice written down, and without ports that are not needed and cannot be had."""
        dockerfiles = await asyncio.to_thread(read_dockerfiles, app, model) if model.builds else {}
        there = await self._find_own_proxies(app, model, dockerfiles)
        proxies = tuple(item for item in there if item.must_change)
        try:
            choice = choose(model, dockerfiles, [name for item in proxies for name in item.leaves])
        except InvalidCompose:
            return Settled(model, None, own_proxies=proxies)
        unpublished = await self._find_unpublished(app, model, choice.web) if choice.web else ()
        settled = _remove_ports(pin(model, choice.web), choice.web, unpublished)
        routed = choice.web.service if choice.web else None
        in_front = next((item for item in there if item.service == routed and item.behind), None)
        goes_round = routed is not None and await self._goes_round(app, model, routed, dockerfiles.get(routed, ""))
        return Settled(settled, choice, unpublished, proxies, in_front, goes_round)

    async def _goes_round(self, app: App, model: ComposeModel, name: str, dockerfile: str) -> bool:
        if find_kind(model.services[name], dockerfile) is None:
            return False
        return sends_to_https(await asyncio.to_thread(read_mounted_text, app, model, name))

    async def _find_own_proxies(
        self, app: App, model: ComposeModel, dockerfiles: Mapping[str, str]
    ) -> tuple[OwnProxy, ...]:
        """Find the proxies whose ports cannot be had: one that an admin lets have them is nobody's concern."""
        names = [name for name, service in model.services.items() if find_kind(service, dockerfiles.get(name, ""))]
        if not names:
            return ()
        texts = {name: await asyncio.to_thread(read_mounted_text, app, model, name) for name in names}
        found = find_own_proxies(model, texts, dockerfiles)
        return tuple([item for item in found if await self._lacks_ports(app, model, item.service)])

    async def _lacks_ports(self, app: App, model: ComposeModel, name: str) -> bool:
        holders, low = await self._find_holders(app, model, name), LOW_PORT not in self._policy.list_waived_rules(app)
        wanted = [parse_published(port.published) for port in model.services[name].ports]
        return any(
            self._explain_why_not(numbers, holders.get(index), low=low)
            for index, numbers in enumerate(wanted)
            if numbers and numbers != _ANY_PORT
        )

    async def _find_unpublished(self, app: App, model: ComposeModel, web: Web) -> tuple[Unpublished, ...]:
        holders = await self._find_holders(app, model, web.service)
        low = LOW_PORT not in self._policy.list_waived_rules(app)
        found = []
        for index, port in enumerate(model.services[web.service].ports):
            wanted = parse_published(port.published) or range(0)
            if not wanted or wanted == _ANY_PORT or not _is_of_requests(port, wanted, web):
                continue
            reason = self._explain_why_not(wanted, holders.get(index), low=low)
            if reason:
                found.append(Unpublished(("services", web.service, "ports", index), port.published, reason))
        return tuple(found)

    async def _find_holders(self, app: App, model: ComposeModel, name: str) -> dict[int, str]:
        """Ports of a service that another has: index → who."""
        alone = model.drop_services(model.services.keys() - {name})
        taken = await self._runtime.find_taken_ports(app.name, alone, self._policy.is_platform)
        return {item.index: item.holder for item in reversed(taken) if not item.is_of_this_app}

    def _explain_why_not(self, wanted: range, holder: str | None, *, low: bool) -> str | None:
        """The reason why a host port cannot be had; None where it can."""
        if any(map(self._policy.is_platform, wanted[:_FIRST_FREE])):
            return "IKOMA itself has it"
        if holder:
            return f"{holder} has it"
        return "ports below 1024 are the server's own" if low and wanted.start < _FIRST_FREE else None


def _is_of_requests(port: Port, wanted: range, web: Web) -> bool:
    """Whether a published port leads to what the proxy leads to anyway."""
    if wanted.start in _OF_THE_PROXY and len(wanted) == 1:
        return True
    return port.target == str(web.port) and port.protocol == "tcp"


def _remove_ports(model: ComposeModel, web: Web | None, unpublished: tuple[Unpublished, ...]) -> ComposeModel:
    if web is None or not unpublished:
        return model
    service, gone = model.services[web.service], {item.place[-1] for item in unpublished}
    ports = [port.raw for index, port in enumerate(service.ports) if index not in gone]
    return model.replace_services({web.service: {**service.raw, "ports": ports}})
