"""The sessions of older clients, as the SDK holds them, each with what it was sent kept apart from the others."""

from __future__ import annotations

from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from ikoma.transports.mcp.replay import RecentEvents


class Sessions(StreamableHTTPSessionManager):
    """The SDK's manager, which by itself has one store of events for all sessions."""

    def __init__(self, server: Server[Any], **options: Any) -> None:
        super().__init__(server, **options)
        self._recent = RecentEvents()

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        self.event_store = store = self._recent.make()  # the transport that is made now takes it
        transport = super()._admit_session(requestor)
        if transport is not None and transport.mcp_session_id is not None:
            self._recent.began(transport.mcp_session_id, store)
        return transport

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        self._recent.ended(session_id)
        await super()._discard_session(session_id, transport)
