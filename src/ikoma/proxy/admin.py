"""Caddy's admin API, on a unix socket that its own user and root alone can reach."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from ikoma.errors import ProxyRefused, ProxyUnavailable
from ikoma.model import AppName
from ikoma.ports.proxy import Side
from ikoma.proxy.sides import make_upstream_template

_HOST = "http://127.0.0.1"  # the only name by which Caddy can be called on a socket
_SECONDS, _LOAD_SECONDS = 5.0, 60.0


class Admin:
    """A way to the running Caddy. Every method raises ProxyUnavailable when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find_process(self) -> int | None:
        """The pid of who listens on the socket, as the kernel knows it; None where nobody does."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_SECONDS)
            try:
                probe.connect(str(self._path))
            except OSError:
                return None
            pid: int = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            return pid

    async def read_config(self) -> dict[str, Any]:
        """The configuration that runs."""
        found: dict[str, Any] | None = await self._ask("GET", "/config/")
        return found or {}

    async def load(self, config: Mapping[str, Any]) -> None:
        """Run this configuration instead; ProxyRefused, with the former one still running, where Caddy will not."""
        await self._ask("POST", "/load", config, seconds=_LOAD_SECONDS)

    async def count_in_flight(self, app: AppName, side: Side) -> int:
        """Requests that the upstreams of a side have now."""
        prefix = make_upstream_template(app, side, 0).removesuffix("0}")
        counts: list[dict[str, Any]] = await self._ask("GET", "/reverse_proxy/upstreams")
        return sum(count["num_requests"] for count in counts if count["address"].startswith(prefix))

    async def _ask(self, method: str, path: str, body: Any = None, *, seconds: float = _SECONDS) -> Any:
        limit = aiohttp.ClientTimeout(total=seconds)
        connector = aiohttp.UnixConnector(str(self._path))
        try:
            async with (
                aiohttp.ClientSession(_HOST, connector=connector, timeout=limit) as session,
                session.request(method, path, json=body) as answer,
            ):
                text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProxyUnavailable from error
        if answer.status != 200:
            raise ProxyRefused(f"The proxy refused the configuration: {_read_reason(text)}")
        return json.loads(text) if text else None


def _read_reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")[:500]
