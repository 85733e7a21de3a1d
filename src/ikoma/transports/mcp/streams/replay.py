"""Messages that older sessions were sent lately, so that a client whose connection broke can take it up where it was.

Each session has a store of its own: the SDK names a stream by the request's id, which two clients may share. Answers
may hold what is shown once, so they are kept for minutes, and no longer than their session.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp_types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)

_MOST_EVENTS = 500
_MOST_BYTES = 2 << 20
_MOST_BYTES_IN_ALL = 64 << 20
_KEEP_SECONDS = 300.0
_GONE = "The answer was sent when nobody was connected, and is not kept any more. operations.list shows what was done."


@dataclass(slots=True)
class _Event:
    stream: StreamId
    at: float
    content: bytes | None
    answers: RequestId | None
    """The request that it answers: its client is told when the answer is gone, and waits no longer."""

    def message(self) -> JSONRPCMessage | None:
        if self.content is not None:
            return jsonrpc_message_adapter.validate_json(self.content, by_name=False)
        if self.answers is not None:
            error = ErrorData(code=INTERNAL_ERROR, message=_GONE)
            return JSONRPCError(jsonrpc="2.0", id=self.answers, error=error)
        return None


class SessionEvents(EventStore):
    """One session's last events.

    Args:
        on_stored: called after each.
    """

    def __init__(self, on_stored: Callable[[], None]) -> None:
        self._on_stored = on_stored
        self._name = secrets.token_hex(4)  # so that an id of another session is none of this one's
        self._count = 0
        self._events: dict[EventId, _Event] = {}
        self._whole: deque[EventId] = deque()
        self.bytes = 0

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._count += 1
        identity = f"{self._name}-{self._count}"
        answers = message.id if isinstance(message, JSONRPCResponse | JSONRPCError) else None
        event = self._events[identity] = _Event(stream_id, time.monotonic(), None, answers)
        if message is not None:
            event.content = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            self._whole.append(identity)
            self.bytes += len(event.content)
        while self.bytes > _MOST_BYTES:
            self.empty_oldest()
        if len(self._events) > _MOST_EVENTS:
            oldest = next(iter(self._events))
            if self._whole and self._whole[0] == oldest:
                self.empty_oldest()
            del self._events[oldest]
        self._on_stored()
        return identity

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        self.empty_old()
        found = self._events.get(last_event_id)
        if found is None:
            return None
        is_later = False
        for identity, event in list(self._events.items()):
            if is_later and event.stream == found.stream and (message := event.message()) is not None:
                await send_callback(EventMessage(message, identity))
            is_later = is_later or event is found
        return found.stream

    def empty_oldest(self) -> None:
        """Forget what the oldest event said; its place in the stream stays known."""
        event = self._events[self._whole.popleft()]
        self.bytes -= len(event.content or b"")
        event.content = None

    def empty_old(self) -> None:
        """Forget what was said too long ago."""
        while self._whole and time.monotonic() - self._events[self._whole[0]].at > _KEEP_SECONDS:
            self.empty_oldest()


class RecentEvents:
    """The stores of all sessions; together they stay below a bound, and the fullest gives way."""

    def __init__(self) -> None:
        self._stores: dict[str, SessionEvents] = {}
        self._timer: asyncio.TimerHandle | None = None

    def make(self) -> SessionEvents:
        return SessionEvents(self._make_room)

    def note_began(self, session: str, store: SessionEvents) -> None:
        self._stores[session] = store

    def note_ended(self, session: str) -> None:
        self._stores.pop(session, None)

    def _make_room(self) -> None:
        while sum(store.bytes for store in self._stores.values()) > _MOST_BYTES_IN_ALL:
            max(self._stores.values(), key=lambda store: store.bytes).empty_oldest()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_KEEP_SECONDS / 10, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        for store in self._stores.values():
            store.empty_old()
        if any(store.bytes for store in self._stores.values()):
            self._make_room()
