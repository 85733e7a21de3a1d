"""The Protocol of the proxy in front of the apps, and the plain data that passes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from ikoma.model import AppName


class Side(Enum):
    """The side that an app's requests go to. A deploy brings the new release up on the other one, then switches."""

    BLUE = "blue"
    GREEN = "green"
    DOWN = "down"
    """Nowhere: the app is out of service, and requests are told so."""
    MAINTENANCE = "maintenance"
    """Nowhere: the app is being worked on, and requests are told so."""

    @property
    def other(self) -> Side:
        """The side that a deploy uses next."""
        return Side.GREEN if self is Side.BLUE else Side.BLUE


@dataclass(frozen=True, slots=True)
class Route:
    """The way of requests to one app. Durations are seconds, sizes bytes."""

    app: AppName
    port: int
    """The port on loopback that is this app's, whatever else changes."""
    domains: tuple[str, ...] = ()
    """Names beside APP.localhost; they get certificates, and plain HTTP on them is redirected."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    """Names that only point to another: www.example.com → example.com."""
    upstreams: int = 1
    """How many upstreams a side has: so many containers may share the requests."""
    hold: float = 15.0
    """How long a request waits for a container that can be connected to."""
    timeout: float | None = None
    """How long the app may take to begin its answer; None for as long as it wants."""
    largest_body: int | None = None


@dataclass(frozen=True, slots=True)
class Entrance:
    """The listener that people's requests for a name of an app come to."""

    url: str
    """The site, as people write it."""
    host: str
    """Value of their Host header."""
    address: str
    """An IP address of this machine."""
    port: int
    encrypted: bool


class Proxy(Protocol):
    """Passes requests on to apps. It outlives IKOMA: what it was told last holds until it is told otherwise.

    Which routes there are is configuration, and changing it is rare. Where a route leads is switched without touching
    the configuration, so that no connection is lost.
    """

    async def start(self) -> None:
        """Take the running proxy over, or start one."""

    async def apply(self, routes: Sequence[Route]) -> None:
        """Serve exactly these routes. What does not change the configuration does not touch the proxy.

        Raises ProxyRefused where the proxy would not take it: what was served before goes on.
        """

    def set_upstreams(self, app: AppName, side: Side, addresses: Sequence[str]) -> None:
        """Let a side of an app's route lead to these addresses (host:port), durably and at once."""

    def list_upstreams(self, app: AppName, side: Side) -> Sequence[str]:
        """The addresses that a side of an app's route was set to last."""

    def switch(self, app: AppName, side: Side) -> None:
        """Send requests that begin from now on to this side, durably and at once."""

    def find_side(self, app: AppName) -> Side:
        """The side that requests go to now; DOWN where that was never said."""

    async def count_in_flight(self, app: AppName, side: Side) -> int:
        """Requests of this side that are not finished, websockets among them."""

    @property
    def platform_domain(self) -> str | None:
        """The name under which the control plane itself is served; None where the proxy does not serve it."""

    @property
    def platform_socket(self) -> Path:
        """The socket at which the control plane is to listen for what the proxy passes on."""

    def serve_platform(self, domain: str | None) -> None:
        """Serve the control plane under this name, or under none, from the next `apply` on."""

    def find_platform_entrance(self) -> Entrance:
        """The listener that people's requests for the control plane come to.

        Raises HttpsOff or DomainTaken, which say why it is not served; ProxyUnavailable.
        """

    def admit(self, socket: Path) -> None:
        """Let the proxy, and nobody else, connect to this socket."""

    @property
    def listeners(self) -> Mapping[str, bool]:
        """The public listeners that are asked for, http and https, and whether each is up."""

    @property
    def obstacles(self) -> Mapping[str, str]:
        """The reasons why a listener is not up: a sentence for each setting or port."""

    def list_urls(self, route: Route) -> tuple[str, ...]:
        """The addresses of the app, the best for a person first."""

    def find_entrance(self, route: Route, name: str) -> Entrance:
        """The listener for a name of an app: one of its domains, its redirects or its own host.

        Raises ProxyUnavailable where nothing of the proxy listens for them.
        """

    def explain_certificate(self, name: str) -> str | None:
        """The reason why a name has no certificate, as the authority said last; None where it said nothing."""

    def forget(self, app: AppName) -> None:
        """Remove what is kept of an app that is gone."""

    async def stop(self) -> None:
        """End the proxy; with it go all connections."""

    async def close(self) -> None:
        """Let go of the proxy, which runs on."""
