"""What older sessions were sent lately, so that a client whose connection broke can take it up where it was."""

from __future__ import annotations

from collections import OrderedDict

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp_types import JSONRPCMessage

_MOST = 2000


class RecentEvents(EventStore):
    """The last events of all streams together; the oldest are forgotten."""

    def __init__(self) -> None:
        self._events: OrderedDict[EventId, tuple[StreamId, JSONRPCMessage | None]] = OrderedDict()
        self._count = 0

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._count += 1
        identity = f"{self._count}"
        self._events[identity] = (stream_id, message)
        while len(self._events) > _MOST:
            self._events.popitem(last=False)
        return identity

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        found = self._events.get(last_event_id)
        if found is None:
            return None
        stream = found[0]
        for identity, (owner, message) in list(self._events.items()):
            if owner == stream and int(identity) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, identity))
        return stream
