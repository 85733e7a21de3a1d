"""Tells clients what has changed: lists, and the resources they follow, in both eras of the protocol.

Newer clients hold a `subscriptions/listen` stream; older ones have a session, which is remembered here from its start
until it can't be reached any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import ResourceListChangedNotification, ServerNotification, ToolListChangedNotification

from ikoma.kernel.events import Event, EventKind
from ikoma.transports.mcp.resources import Resources

log = logging.getLogger("ikoma.mcp")

Context = ServerRequestContext[Any, Any]

_MOST_SESSIONS = 1000
_SEND_SECONDS = 2.0


@dataclass
class _Follower:
    session: ServerSession
    sees: Callable[[Event], Awaitable[bool]]
    followed: set[str] = field(default_factory=set)


class Notifier:
    """Knows who wants to hear, and tells them."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._sessions: OrderedDict[str, _Follower] = OrderedDict()
        self.listen = ListenHandler(self.bus)

    def note_began(self, session_id: str, ctx: Context, sees: Callable[[Event], Awaitable[bool]]) -> None:
        """An older client has begun its session; it is told of what it may see."""
        self._sessions[session_id] = _Follower(ctx.session, sees)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def note_ended(self, session_id: str) -> None:
        """A session is over: it makes no room for itself at the cost of others."""
        self._sessions.pop(session_id, None)

    def follow(self, session_id: str, uri: str) -> None:
        if session_id in self._sessions:
            self._sessions[session_id].followed.add(uri)

    def unfollow(self, session_id: str, uri: str) -> None:
        if session_id in self._sessions:
            self._sessions[session_id].followed.discard(uri)

    async def pump(self, events: AsyncIterator[Event]) -> None:
        """Pass on what each event has changed, until cancelled."""
        async for event in events:
            for told in _make_notifications(event):
                await self.bus.publish(told)
                for identity, held in list(self._sessions.items()):
                    if await held.sees(event):
                        await self._tell(identity, told)

    def close(self) -> None:
        """End the open streams, so that nothing holds up a stop."""
        self.listen.close()
        self._sessions.clear()

    async def _tell(self, identity: str, event: ServerEvent) -> None:
        held = self._sessions.get(identity)
        if held is None:
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                if isinstance(event, ResourceUpdated):
                    if event.uri in held.followed:
                        await held.session.send_resource_updated(event.uri)
                else:
                    await held.session.send_notification(_make_notification(event))
        except TimeoutError:  # it does not read any more
            self._sessions.pop(identity, None)


def _make_notifications(event: Event) -> list[ServerEvent]:
    """Notifications for an event: that clients' lists or resources are others now."""
    if event.kind is not EventKind.SUCCEEDED or event.capability is None:
        return []
    told: list[ServerEvent] = [ResourceUpdated(uri) for uri in Resources.list_touched(event)]
    if event.capability in ("apps.init", "apps.remove"):
        told.append(ResourcesListChanged())
    if event.capability.startswith("keys."):
        told.append(ToolsListChanged())
    return told


def _make_notification(event: ServerEvent) -> ServerNotification:
    if isinstance(event, ToolsListChanged):
        return ToolListChangedNotification()
    return ResourceListChangedNotification()
