"""The name under which the control plane itself is served: PLATFORM_DOMAIN, which is off by default."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ikoma.apps.routing.certificates import Certificate, read_certificate
from ikoma.apps.routing.routes import Routes
from ikoma.durable import write_file
from ikoma.errors import DomainTaken, SettingFixed
from ikoma.ports.proxy import Entrance, Proxy
from ikoma.settings import Settings, is_in_environment

_SETTING = "PLATFORM_DOMAIN"
_PAUSE = 0.2


class PlatformDomain:
    """Serves the control plane under a name, and keeps the name in IKOMA_HOME/.env."""

    def __init__(self, settings: Settings, proxy: Proxy, routes: Routes) -> None:
        self._file = settings.env_file
        self._authority = settings.ikoma_state / "proxy" / "data" / "pki" / "authorities" / "local" / "root.crt"
        self._proxy = proxy
        self._routes = routes
        self._changing = asyncio.Lock()

    @property
    def name(self) -> str | None:
        return self._proxy.platform_domain

    async def serve(self, name: str | None) -> None:
        """Serve the control plane under this name from now on, and after each start; under none where it is None.

        Raises:
            SettingFixed: the environment of the server says another name.
            DomainTaken: an app is served under it.
            HttpsOff, ProxyRefused, ProxyUnavailable: all stays as it was.
        """
        if is_in_environment(_SETTING):
            raise SettingFixed(f"{_SETTING} is set in the environment of the server, where this call cannot change it.")
        async with self._changing:
            former = self.name
            if name == former:
                return
            if name is not None and self._routes.has_app_at(name):
                raise DomainTaken(f"An app is served under {name}.")
            self._write(name)
            try:
                await self._apply(name)
            except BaseException:
                self._write(former)
                self._proxy.serve_platform(former)
                await self._routes.apply()
                raise

    def find_entrance(self) -> Entrance:
        """Find where requests for the control plane come in.

        Raises:
            HttpsOff, DomainTaken, ProxyUnavailable: it is not served, and why.
        """
        return self._proxy.find_platform_entrance()

    async def read_certificate(self, seconds: float) -> Certificate | None:
        """Read the certificate that clients are shown; None where so many seconds have brought none."""
        ends = time.monotonic() + seconds
        while True:
            found = await read_certificate(self.find_entrance(), self.name or "", max(0.1, ends - time.monotonic()))
            if found is not None or time.monotonic() > ends:
                return found
            await asyncio.sleep(_PAUSE)

    def find_authority(self) -> Path | None:
        """Find the certificate of this server's own authority, for clients that are to trust it."""
        return self._authority if self._authority.is_file() else None

    async def _apply(self, name: str | None) -> None:
        self._proxy.serve_platform(name)
        await self._routes.apply()
        if name is not None:
            self._proxy.find_platform_entrance()

    def _write(self, name: str | None) -> None:
        known = self._file.read_text() if self._file.is_file() else ""
        kept = [line for line in known.splitlines() if not line.startswith(f"{_SETTING}=")]
        written = [*kept, f"{_SETTING}={name}"] if name is not None else kept
        write_file(self._file, "".join(f"{line}\n" for line in written), mode=0o600)
