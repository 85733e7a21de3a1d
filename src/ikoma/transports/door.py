"""The doors at the server's address: the HTTP door, the MCP door or both, as SERVER_MODE says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from ikoma.apps.backups.downloads import BackupDownloads
from ikoma.apps.source.webhook import Webhooks
from ikoma.kernel.pipeline import Pipeline
from ikoma.settings import Settings
from ikoma.transports import headers
from ikoma.transports.hardening import harden_app
from ikoma.transports.http import Summary, make_http_app
from ikoma.transports.mcp.opening import METADATA, PATH, McpDoor, make_metadata
from ikoma.transports.proxied import serve_proxied


class Door:
    """The whole ASGI application is `app`; `proxied_app` is the same for what the proxy passes on."""

    def __init__(
        self,
        pipeline: Pipeline,
        summary: Summary,
        settings: Settings,
        hooks: Webhooks,
        downloads: BackupDownloads,
        domain: Callable[[], str | None],
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._mcp = McpDoor(pipeline) if settings.server_mode != "http" else None
        self._http = make_http_app(pipeline, summary, hooks if settings.server_mode != "mcp" else None, downloads)
        self.app = harden_app(headers.guard_app(self._lead_on, settings.allowed_hosts))
        self.proxied_app = harden_app(serve_proxied(self._lead_on, domain))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the door for the block: inside it answers."""
        if self._mcp is None:
            yield
            return
        async with self._mcp.running(self._settings.mcp_socket_file):
            yield

    def close(self) -> None:
        """End what would stay open for as long as its client likes."""
        self._pipeline.stop()
        if self._mcp is not None:
            self._mcp.close()

    async def _lead_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self._mcp is not None and path == PATH:
            await self._mcp(scope, receive, send)
        elif self._mcp is not None and path in (METADATA, METADATA + PATH):
            await headers.answer(send, 200, make_metadata(scope, self._settings.jwt_issuer))
        else:
            await self._http(scope, receive, send)
