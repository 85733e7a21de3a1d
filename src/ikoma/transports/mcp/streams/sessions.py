"""The sessions of older clients, as the SDK holds them: a bounded number for each key, and what one was sent apart
from what others were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from ikoma.errors import TooManyConnections
from ikoma.transports.mcp.streams.replay import RecentEvents

MOST_OF_A_KEY = 50


class Sessions(StreamableHTTPSessionManager):
    """The SDK's manager, which by itself has one bound and one store of events for all sessions.

    Args:
        on_ended: told the id of each session that is over.
    """

    def __init__(self, server: Server[Any], *, on_ended: Callable[[str], None], **options: Any) -> None:
        super().__init__(server, **options)
        self._on_ended = on_ended
        self._recent = RecentEvents()

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        self._make_room(requestor)
        self.event_store = store = self._recent.make()  # the transport that is made now takes it
        transport = super()._admit_session(requestor)
        if transport is not None and transport.mcp_session_id is not None:
            self._recent.note_began(transport.mcp_session_id, store)
        return transport

    def _make_room(self, requestor: AuthorizationContext | None) -> None:
        """End the session of this key that has been idle longest; clients begin another where they need one.

        Raises:
            TooManyConnections: each has a request under way or an open stream.
        """
        own = [
            (identity, transport)
            for identity, transport in self._server_instances.items()
            if self._session_owners.get(identity) == requestor
        ]
        too_many = len(own) + 1 - MOST_OF_A_KEY
        idle = sorted(
            (item for item in own if _find_idle_end(item[1]) < math.inf), key=lambda item: _find_idle_end(item[1])
        )
        if len(idle) < too_many:
            raise TooManyConnections(f"This key has {len(own)} MCP sessions, and none is idle.")
        assert self._task_group is not None
        for identity, transport in idle[: max(too_many, 0)]:
            self._task_group.start_soon(self._discard_session, identity, transport)

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        self._recent.note_ended(session_id)
        self._on_ended(session_id)
        await super()._discard_session(session_id, transport)


def _find_idle_end(transport: StreamableHTTPServerTransport) -> float:
    """The time at which it ends by itself; never, while it has something to do."""
    return math.inf if transport.idle_scope is None else transport.idle_scope.deadline
