"""The proxy of ports/proxy.py, carried out by Caddy.

What changes often, where an app's requests go, is files and never touches Caddy. What changes seldom, which apps there
are, is a configuration that Caddy takes whole or not at all. The routes that were applied last are written down, so
that a Caddy that has to be started anew serves the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ikoma.durable import make_folder
from ikoma.errors import DomainTaken, HttpsOff, IkomaError, ProxyRefused, ProxyUnavailable
from ikoma.model import AppName
from ikoma.ports.proxy import Entrance, Route, Side
from ikoma.proxy import pages
from ikoma.proxy.admin import Admin
from ikoma.proxy.config import HTTP, HTTPS, ProxySetup, build, format_site
from ikoma.proxy.listeners import Openings, find_listening, find_obstacle, find_own_address
from ikoma.proxy.own_log import find_certificate_trouble
from ikoma.proxy.platform_site import PlatformSite
from ikoma.proxy.process import USER, CaddyProcess, GivenCaddy, give
from ikoma.proxy.routes import RouteBook, check, find_owner, list_local_names, list_public_names
from ikoma.proxy.sides import SERVING, Sides
from ikoma.settings import Settings
from ikoma.users import find_closed_folder, use_when_root

log = logging.getLogger("ikoma.proxy")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_STEADY_SECONDS = 60.0
_PLATFORM_DOMAIN = "PLATFORM_DOMAIN"


class CaddyProxy:
    """One Caddy on one folder, IKOMA_STATE/proxy."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.ikoma_state / "proxy"
        self._place = ProxySetup(
            root=self._root,
            host=settings.proxy_host,
            http_port=settings.proxy_http_port,
            https_port=0 if settings.proxy_tls == "off" else settings.proxy_https_port,
            tls=settings.proxy_tls,
            email=settings.acme_email,
            access_logs=None,
        )
        self.serve_platform(settings.platform_domain)
        self._logs = settings.audit_log.parent / "access"
        self._admin = Admin(self._place.socket)
        process = GivenCaddy if settings.proxy_process == "given" else CaddyProcess
        self._process = process(self._place, self._admin)
        self._sides = Sides(self._root)
        self._book = RouteBook(self._root / "routes.json")
        self._openings = Openings()
        self._obstacles: dict[str, str] = {}
        self._stopped = False

    @property
    def listeners(self) -> Mapping[str, bool]:
        """The public listeners that the settings ask for, and whether each is up."""
        wanted = {HTTP: self._place.http_port, HTTPS: self._place.https_port}
        up = {HTTP: self._openings.http, HTTPS: self._openings.https}
        return {name: up[name] for name, port in wanted.items() if port}

    @property
    def obstacles(self) -> Mapping[str, str]:
        """The reasons why a listener is not up: a sentence for each setting or port."""
        return dict(self._obstacles)

    @property
    def platform_domain(self) -> str | None:
        return self._place.platform.domain if self._place.platform else None

    @property
    def platform_socket(self) -> Path:
        return self._root / "run" / "ikoma.sock"

    def serve_platform(self, domain: str | None) -> None:
        site = PlatformSite(domain, self.platform_socket) if domain else None
        self._place = replace(self._place, platform=site)

    def admit(self, socket: Path) -> None:
        give(socket)

    async def start(self) -> None:
        self._stopped = False
        await self._process.prepare()
        pages.write(self._root)
        self._place = replace(self._place, access_logs=self._prepare_log_folder())
        async with self._process.take_turn():
            await self._bring_up()

    async def apply(self, routes: Sequence[Route]) -> None:
        check(routes)
        async with self._process.take_turn():
            await asyncio.to_thread(self._prepare, routes)
            await self._serve(routes)
            self._book.write(routes)

    def set_upstreams(self, app: AppName, side: Side, addresses: Sequence[str]) -> None:
        self._sides.set_upstreams(app, side, addresses)

    def list_upstreams(self, app: AppName, side: Side) -> Sequence[str]:
        return self._sides.list_upstreams(app, side)

    def switch(self, app: AppName, side: Side) -> None:
        self._sides.switch(app, side)

    def find_side(self, app: AppName) -> Side:
        return self._sides.find_side(app)

    async def count_in_flight(self, app: AppName, side: Side) -> int:
        return await self._admin.count_in_flight(app, side) if side in SERVING else 0

    def list_urls(self, route: Route) -> tuple[str, ...]:
        public = HTTPS if self._openings.https else HTTP
        found = (
            [format_site(self._place, public, name) for name in list_public_names(route)]
            if any(self.listeners.values())
            else []
        )
        if self._openings.http:
            found.append(format_site(self._place, HTTP, route.app.host))
        return (*found, f"http://127.0.0.1:{route.port}")

    def find_platform_entrance(self) -> Entrance:
        if self._process.pid is None or self._place.platform is None:
            raise ProxyUnavailable
        if not self._openings.https:
            why = self._obstacles.get("PROXY_HTTPS_PORT") or "PROXY_HTTPS_PORT is 0, or PROXY_TLS is off."
            raise HttpsOff(f"The proxy does not listen for HTTPS: {why}")
        if taken := self._obstacles.get(_PLATFORM_DOMAIN):
            raise DomainTaken(taken)
        return self._enter(HTTPS, self._place.platform.domain)

    def find_entrance(self, route: Route, name: str) -> Entrance:
        up = self._openings
        if self._process.pid is None:
            raise ProxyUnavailable
        if up.https and not (up.http and name in list_local_names(route)):
            return self._enter(HTTPS, name)
        if up.http:
            return self._enter(HTTP, name)
        if route.port not in up.closed:
            return Entrance(f"http://127.0.0.1:{route.port}", name, "127.0.0.1", route.port, encrypted=False)
        raise ProxyUnavailable(f"The proxy listens nowhere for {route.app}: {' '.join(self._obstacles.values())}")

    def _enter(self, scheme: str, name: str) -> Entrance:
        place, encrypted = self._place, scheme == HTTPS
        url = format_site(place, scheme, name)
        port = place.https_port if encrypted else place.http_port
        return Entrance(url, url.partition("://")[2], find_own_address(place.host), port, encrypted=encrypted)

    def explain_certificate(self, name: str) -> str | None:
        return find_certificate_trouble(self._root / "log" / "caddy.log", name)

    def forget(self, app: AppName) -> None:
        """Remove what is kept of an app that is gone: after the routes were applied without it."""
        self._sides.forget(app)

    async def watch(self) -> None:
        """Start Caddy again whenever it ends unasked. Runs until `stop` or until it is cancelled."""
        pause = _FIRST_PAUSE
        while True:
            began = _read_clock()
            await self._process.wait_until_ended()
            if self._stopped:
                return
            pause = _FIRST_PAUSE if _read_clock() - began > _STEADY_SECONDS else pause
            log.warning("The proxy ended; starting it again in %s s", pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                async with self._process.take_turn():
                    await self._bring_up()
            except (IkomaError, OSError) as error:
                log.error("The proxy cannot be started: %s", error)

    async def stop(self) -> None:
        self._stopped = True
        async with self._process.take_turn():
            await self._process.stop()

    async def close(self) -> None:
        """Nothing is held: the proxy is nobody's child."""

    def _prepare(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._sides.prepare(route.app, route.upstreams)

    def _prepare_log_folder(self) -> Path | None:
        """The folder of the access logs; None, and a warning, where Caddy's user cannot get there."""
        make_folder(self._logs.parent, 0o755)
        if use_when_root(USER) and (folder := find_closed_folder(self._logs.parent)):
            log.warning("Requests to apps are not logged: %s is closed to %s (chmod o+x)", folder, USER)
            return None
        if make_folder(self._logs, 0o750):
            give(self._logs)
        return self._logs

    async def _bring_up(self) -> None:
        if self._process.answers():
            self._note(await self._admin.read_config())
            return
        await self._process.launch()
        try:
            await self._serve(self._book.read())
        except ProxyRefused as error:
            log.error("What was served before is not served: %s", error.message)

    async def _serve(self, routes: Sequence[Route]) -> None:
        """Have Caddy run the configuration of these routes, and load nothing where it does so already."""
        running = await self._admin.read_config()
        servers = running.get("apps", {}).get("http", {}).get("servers", {})
        openings, obstacles = self._find_openings(routes, ours=find_listening(servers.values()))
        place = self._place
        if place.platform is not None and (owner := find_owner(routes, place.platform.domain)):
            # A setting that is wrong must not keep apps from being served.
            place = replace(place, platform=None)
            obstacles[_PLATFORM_DOMAIN] = f"{_PLATFORM_DOMAIN}: {self.platform_domain} is a name of the app {owner}."
        wanted = build(routes, place, openings)
        if wanted != running:
            await self._admin.load(wanted)
        for what, why in obstacles.items():
            if self._obstacles.get(what) != why:
                log.warning("%s", why)
        self._openings, self._obstacles = openings, obstacles

    def _find_openings(self, routes: Sequence[Route], *, ours: frozenset[str]) -> tuple[Openings, dict[str, str]]:
        obstacles: dict[str, str] = {}

        def is_open(what: str, host: str, port: int, *, datagrams: bool = False) -> bool:
            why = find_obstacle(host, port, ours=ours, datagrams=datagrams) if port else None
            if why is not None:
                kind = " for HTTP/3" if datagrams else ""
                obstacles[what + kind] = f"{what}: the proxy does not listen on port {port}{kind}, because {why}."
            return bool(port) and why is None

        place = self._place
        https = is_open("PROXY_HTTPS_PORT", place.host, place.https_port)
        closed = {route.port for route in routes if not is_open(f"The port of {route.app}", "127.0.0.1", route.port)}
        openings = Openings(
            http=is_open("PROXY_HTTP_PORT", place.host, place.http_port),
            https=https,
            http3=https and is_open("PROXY_HTTPS_PORT", place.host, place.https_port, datagrams=True),
            closed=frozenset(closed),
        )
        return openings, obstacles

    def _note(self, running: Mapping[str, object]) -> None:
        """Know the listeners of a Caddy that was taken over."""
        apps = running.get("apps")
        servers = apps["http"]["servers"] if isinstance(apps, dict) else {}
        self._openings = Openings(http=HTTP in servers, https=HTTPS in servers)


def _read_clock() -> float:
    return asyncio.get_running_loop().time()
