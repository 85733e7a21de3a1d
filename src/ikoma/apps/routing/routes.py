"""Routes, by which requests reach apps: which there are, and to which containers they lead.

An app's route is made when it first serves and goes with the app. Its port on loopback never changes. Where the route
leads follows the containers: a deploy switches it, and one that comes back with another address is found again.
During maintenance requests get a page; the side that would serve is kept in a file, and follows deploys like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ikoma.app_folder import App
from ikoma.apps.app import Apps, log_failures
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.releases.scaling import fit_scale
from ikoma.apps.routing.addresses import list_addresses
from ikoma.apps.routing.domains import read_domains, read_others_domains, write_domains
from ikoma.apps.routing.maintenance import forget_side_after, read_side_after, write_side_after
from ikoma.apps.routing.ports import choose_port, read_port, wait_until_connected
from ikoma.compose.compose_file import Web
from ikoma.compose.x_ikoma import Extension
from ikoma.errors import DomainNotFound, DomainTaken, IkomaError, NoWebService, ProxyUnavailable
from ikoma.model import AppName, quote_name
from ikoma.ports.proxy import Entrance, Proxy, Route, Side
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import RolloutState

_PAUSE = 0.02
_QUIET = 0.15
_HELD_GO_ON = 0.5
_LONGEST_WAIT = 15.0
_NOWHERE = ("127.0.0.1:1",)
"""An address that refuses: requests are held there until a better one is known."""


class Routes:
    """The routes of all apps."""

    def __init__(self, runtime: Runtime, proxy: Proxy, apps: Apps) -> None:
        self._runtime = runtime
        self._proxy = proxy
        self._apps = apps
        self._applying = asyncio.Lock()
        self._ahead: set[App] = set()
        """Apps whose routes are those of releases that do not serve yet."""
        self._last: dict[str, Route | None] = {}
        """The routes that apps had last: they stay while an app's state cannot be read."""

    async def start(self) -> None:
        """Serve the routes of all apps, and let each lead to where its containers are now."""
        await self._proxy.start()
        for name in self._apps.list_names():
            with log_failures(name):
                self._restore_port(self._apps.locate(name))
        await self.apply()
        for name in self._apps.list_names():
            with log_failures(name):
                await self._refresh_settled(self._apps.locate(name))

    def describe_condition(self) -> dict[str, Any]:
        """Tell which public listeners are up, and what is in the way of the others."""
        return {"listeners": dict(self._proxy.listeners), "obstacles": dict(self._proxy.obstacles)}

    async def apply(self, coming: Route | None = None) -> None:
        """Tell the proxy of all routes.

        Args:
            coming: the route of an app that is about to serve, in place of the one it has.
        """
        async with self._applying:
            routes = {
                name: route
                for name in self._apps.list_names()
                if (route := self._find_route_leniently(self._apps.locate(name)))
            }
            if coming is not None:
                routes[coming.app] = self._last[coming.app] = coming
            # Always in the same order: another one would be another configuration, and loading it ends connections.
            await self._proxy.apply([routes[name] for name in sorted(routes)])

    async def set_route(self, app: App, web: Web | None, extension: Extension, replicas: int) -> None:
        """Make sure that an app has the route that a release of it wants.

        Raises:
            DomainTaken: another app has one of its domains.
            ProxyRefused, ProxyUnavailable
        """
        if web is None:
            return
        self.check_domains(app, (*extension.domains, *extension.redirects))
        coming = self._make_route(app, extension, replicas, choose_port(app, self._apps))
        if coming != self._find_route(app):
            self._ahead.add(app)
        await self.apply(coming)

    async def restore_route(self, app: App) -> None:
        """Let the app have the route of the release that serves, after a rollout that was undone.

        Requests that waited for a container go to it first: a new configuration would end their wait.
        """
        if app not in self._ahead:
            return
        self._ahead.discard(app)
        web, containers = await self._find_serving(app)
        if web is not None and (addresses := list_addresses(web, containers)):
            await wait_until_connected(addresses, _LONGEST_WAIT)
            await asyncio.sleep(_HELD_GO_ON)
        with suppress(ProxyUnavailable):  # it is told when it is back
            await self.apply()

    def switch(self, app: App, web: Web | None, containers: Sequence[Replica]) -> None:
        """Send requests to these containers of the web service from now on."""
        if web is None:
            return
        self._ahead.discard(app)
        addresses = list_addresses(web, containers)
        side = self._read_side(app).other
        self._proxy.set_upstreams(app.name, side, addresses)
        self._set_side(app, side)
        # Requests that are still held on the other side go on to the new containers too.
        self._proxy.set_upstreams(app.name, side.other, addresses)

    async def restore_switch(self, app: App) -> None:
        """Send requests to the containers that serve, whether or not that had been done before a kill."""
        web, containers = await self._find_serving(app)
        if web is None or not containers:
            return
        side, addresses = self._read_side(app), list_addresses(web, containers)
        if list(self._proxy.list_upstreams(app.name, side)) == addresses:
            # Switched already: what is still under way on the other side must not be taken for that of this one.
            self._proxy.set_upstreams(app.name, side.other, addresses)
        else:
            self.switch(app, web, containers)

    async def pause(self, app: App, limit: float) -> None:
        """Let new requests wait, and give those that are under way the time to end."""
        side = self._read_side(app)
        if side in (Side.BLUE, Side.GREEN):
            self._proxy.set_upstreams(app.name, side, _NOWHERE)
            await self._wait_until_idle(app, side, limit)

    async def drain(self, app: App) -> int:
        """Wait for requests of the side that was switched away from, as long as the release that serves allows.

        Returns milliseconds.
        """
        side = self._read_side(app)
        if side not in (Side.BLUE, Side.GREEN):
            return 0
        if self._find_route(app) is None:
            return await self._withdraw(app, side)
        return await self._wait_until_idle(app, side.other, _read_drain_seconds(app))

    async def _withdraw(self, app: App, side: Side) -> int:
        """Withdraw what led to the release before once its requests have ended: the one that serves answers no HTTP."""
        self._set_side(app, Side.DOWN)
        milliseconds = await self._wait_until_idle(app, side, _read_drain_seconds(app))
        with suppress(ProxyUnavailable):  # it is told when it is back
            await self.forget(app)
        return milliseconds

    async def take_down(self, app: App) -> None:
        """Tell new requests that the app is down, and give those that are under way the time to end."""
        side = self._read_side(app)
        if side is Side.DOWN:
            return
        self._set_side(app, Side.DOWN)
        if side in (Side.BLUE, Side.GREEN):
            await self._wait_until_idle(app, side, _read_drain_seconds(app))

    async def _refresh_settled(self, app: App) -> None:
        """Refresh a route, unless its last rollout took over and was cut off: its end must see whether it switched."""
        if not RolloutState(app).read_view().has_taken_over:
            await self.refresh(app)

    async def refresh(self, app: App) -> None:
        """Let the route lead to where the containers that serve are now."""
        web, containers = await self._find_serving(app)
        if web is None or not (addresses := list_addresses(web, containers)):
            return  # it comes back, or goes down with a word
        state = RolloutState(app)
        side = self._read_side(app)
        if side in (Side.BLUE, Side.GREEN):
            self._proxy.set_upstreams(app.name, side, addresses)
        elif side is Side.DOWN and (serving := state.read_serving()) is not None and not serving.down:
            self._proxy.set_upstreams(app.name, Side.BLUE, addresses)
            self._set_side(app, Side.BLUE)

    def is_in_maintenance(self, app: App) -> bool:
        return self._proxy.find_side(app.name) is Side.MAINTENANCE

    def begin_maintenance(self, app: App) -> None:
        """Show people a page that says so, and remember which side served.

        Raises:
            NotDeployed: there is nothing yet that could be maintained.
            NoWebService
        """
        if Releases(app).require_current().web is None:
            raise NoWebService(f"{app.name} answers no HTTP requests.")
        if not self.is_in_maintenance(app):
            write_side_after(app, self._proxy.find_side(app.name))
            self._proxy.switch(app.name, Side.MAINTENANCE)

    async def end_maintenance(self, app: App) -> None:
        """Go back to what served, or was deployed meanwhile."""
        if self.is_in_maintenance(app):
            await self.refresh(app)
            self._proxy.switch(app.name, read_side_after(app))
        forget_side_after(app)

    async def serve_domains(self, app: App, domains: Sequence[str]) -> None:
        """Serve these names beside those of the app's compose file.

        Raises:
            ProxyRefused, ProxyUnavailable: all stays as it was.
        """
        former = read_domains(app)
        write_domains(app, domains)
        try:
            await self.apply()
        except BaseException:
            write_domains(app, former)
            raise

    def list_domain_urls(self, app: App) -> Mapping[str, str]:
        """Map each name of an app to its address; none before it is first deployed."""
        route = self._find_route(app)
        if route is None:
            return {}
        urls = self._proxy.list_urls(replace(route, domains=(*route.domains, *route.redirects)))
        return {name: url for url in urls if (name := urlsplit(url).hostname)}

    def find_entrance(self, app: App, name: str | None) -> Entrance:
        """Find where people's requests for an app come in.

        Args:
            name: the one that they ask for; None is the app's first domain, or where it has none its own host.

        Raises:
            NotDeployed, NoWebService, DomainNotFound, ProxyUnavailable
        """
        Releases(app).require_current()
        route = self._find_route(app)
        if route is None:
            raise NoWebService(f"{app.name} answers no HTTP requests.")
        names = (*route.domains, app.name.host, *route.redirects)
        name = None if name is None else name.lower().removesuffix(".")
        if name is not None and name not in names:
            raise DomainNotFound(f"{app.name} is not reached by that name.", hint=f"It is by {', '.join(names)}.")
        return self._proxy.find_entrance(route, name or names[0])

    def find_certificate_trouble(self, name: str) -> str | None:
        """Find why a name has no certificate, as the authority said last; None where it said nothing."""
        return self._proxy.explain_certificate(name)

    async def forget(self, app: App) -> None:
        """Remove the route of an app that is gone."""
        await self.apply()
        self._last.pop(app.name, None)
        self._proxy.forget(app.name)

    def list_urls(self, app: App, release: Release | None) -> tuple[str, ...]:
        """List the addresses of the app while a release serves; none before it is first deployed."""
        if release is None or release.web is None:
            return ()
        route = self._find_route_of(app, release.x_ikoma, replicas=1)
        if route is None:
            return ()
        # Browsers and curl know that *.localhost is this machine; many programs do not, so theirs comes before it.
        return tuple(sorted(self._proxy.list_urls(route), key=lambda url: ".localhost" in url))

    def check_domains(self, app: App, domains: Sequence[str]) -> None:
        """Raises DomainTaken where another app has one of these domains."""
        for domain in self.list_taken(app, domains):
            whose = "is this server's own name" if domain == self._proxy.platform_domain else "belongs to another app"
            raise DomainTaken(f"{quote_name(domain)} {whose}.")

    def list_taken(self, app: App, domains: Sequence[str]) -> list[str]:
        """List which of these domains another app has, or the control plane itself."""
        others = {self._proxy.platform_domain, *self._list_names(other_than=app.name)}
        return [domain for domain in domains if domain in others]

    def has_app_at(self, domain: str) -> bool:
        """Whether an app is served under this domain."""
        return domain in self._list_names()

    def _list_names(self, other_than: AppName | None = None) -> set[str]:
        """List the names of all apps but one."""
        names: set[str] = set()
        for other in (self._apps.locate(name) for name in self._apps.list_names() if name != other_than):
            route = self._find_route_leniently(other)
            names |= {other.name.host, *read_others_domains(other)}
            names |= {*route.domains, *route.redirects} if route else set()
        return names

    async def _find_serving(self, app: App) -> tuple[Web | None, list[Replica]]:
        """Find how the release that serves answers HTTP, and which containers do so now."""
        release = Releases(app).find_current()
        web = release.routed if release else None
        if web is None:
            return None, []
        serving = (await self._runtime.observe(app)).serving
        return web, [item for item in serving if list_addresses(web, [item])]

    def _read_side(self, app: App) -> Side:
        """Read the side that serves, or that would if there were no maintenance."""
        side = self._proxy.find_side(app.name)
        return read_side_after(app) if side is Side.MAINTENANCE else side

    def _set_side(self, app: App, side: Side) -> None:
        """Let this side serve; during maintenance, from its end on."""
        if self.is_in_maintenance(app):
            write_side_after(app, side)
        else:
            self._proxy.switch(app.name, side)

    async def _wait_until_idle(self, app: App, side: Side, limit: float) -> int:
        """Wait until a side has no requests; milliseconds.

        One that has just looked up where it goes does not count yet, so a side is idle only when it stays so.
        """
        began = busy = time.monotonic()
        while (now := time.monotonic()) - began < limit and now - busy < _QUIET:
            await asyncio.sleep(_PAUSE)
            if await self._proxy.count_in_flight(app.name, side):
                busy = time.monotonic()
        return int((busy - began) * 1000)

    def _find_route_leniently(self, app: App) -> Route | None:
        """Find the route of an app; the last known one where its state cannot be read, so that others go on."""
        with suppress(IkomaError, OSError, LookupError, TypeError, ValueError):
            self._last[app.name] = self._find_route(app)
        return self._last.get(app.name)

    def _find_route(self, app: App) -> Route | None:
        """Find the route of the release that serves."""
        release = Releases(app).find_current()
        if release is None or release.web is None:
            return None
        service = release.web["service"]
        replicas = fit_scale(app, Releases(app).read_model(release.id)).get(service, release.count_replicas(service))
        return self._find_route_of(app, release.x_ikoma, replicas)

    def _find_route_of(self, app: App, extension: Extension, replicas: int) -> Route | None:
        """Find the route that a release has. It only reads: whoever looks writes nothing, and the app may be going."""
        port = read_port(app)
        return None if port is None else self._make_route(app, extension, replicas, port)

    def _restore_port(self, app: App) -> None:
        """Choose a port for an app that serves and whose own is lost."""
        release = Releases(app).find_current()
        if release is not None and release.web is not None:
            choose_port(app, self._apps)

    def _make_route(self, app: App, extension: Extension, replicas: int, port: int) -> Route:
        names = dict.fromkeys((*extension.domains, *read_domains(app)))
        return Route(
            app=app.name,
            port=port,
            domains=tuple(name for name in names if name not in extension.redirects),
            redirects=extension.redirects,
            upstreams=max(1, replicas),
            hold=extension.hold,
            timeout=extension.timeout,
            largest_body=extension.max_body,
        )


def _read_drain_seconds(app: App) -> float:
    """Read how long requests to what is replaced may go on: as the release that serves says."""
    release = Releases(app).find_current()
    return release.x_ikoma.drain if release else 0.0
