"""Events: what happens to apps and to IKOMA itself, for whoever follows now, in any process of this state.

An event is handed at once to all who follow in this process. It is kept in state.db too, where other processes find it
within a second, and where the last ones can be read again. Who was not there asks for the present state.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from ikoma.errors import DiskFull
from ikoma.kernel.redaction.redaction import withhold_if_long
from ikoma.kernel.state.store import Codec, Store, StoreTable
from ikoma.moments import format_moment

log = logging.getLogger("ikoma")

_BACKLOG = 256
_KEEP = 1000
_LOOK_SECONDS = 1.0
_LONGEST = 1000


class EventKind(StrEnum):
    """The kind of an event."""

    SUCCEEDED = "operation.succeeded"
    FAILED = "operation.failed"
    ROLLED_BACK = "app.rolled_back"
    """IKOMA has left a release that turned unhealthy."""
    OFFSITE = "offsite.failed"
    """A backup does not get off this machine."""
    HEALTH = "app.health"
    """The health of an app is another one."""


class Severity(StrEnum):
    """The weight of an event for whoever looks after the apps."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened; of an app, an operation and a capability where there is one. `at` is RFC 3339, UTC.

    `message` is one sentence or less, without secrets.
    """

    kind: EventKind
    severity: Severity = Severity.INFO
    app: str | None = None
    operation: str | None = None
    capability: str | None = None
    message: str = ""
    at: str = field(default_factory=lambda: _format_now())


_CODECS = {
    "kind": Codec(str, EventKind),
    "severity": Codec(str, Severity),
    "message": Codec(lambda text: withhold_if_long(text, _LONGEST), str),
}


class Events:
    """Hands each event to all who follow. Who does not keep up misses the oldest."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = StoreTable(store, "events", Event, _CODECS)
        self._origin = secrets.token_hex(8)
        self._queues: set[asyncio.Queue[Event]] = set()
        self._unkept: deque[Event] = deque(maxlen=_BACKLOG)
        """Those that are not in state.db yet."""
        self._read = 0
        """The number of the last event that was looked at for those who follow here."""
        self._seen_changes = -1

    def publish(self, event: Event) -> None:
        """Tell all who follow. Never waits, and never fails: what happened has happened."""
        self._hand_over(event)
        self._unkept.append(event)
        self._keep()

    @contextmanager
    def following(self) -> Iterator[AsyncIterator[Event]]:
        """In the block, no event is missed."""
        if not self._queues:
            self._read = self._find_newest()
        queue: asyncio.Queue[Event] = asyncio.Queue(_BACKLOG)
        self._queues.add(queue)
        try:
            yield _read_events(queue)
        finally:
            self._queues.discard(queue)

    def list_recent(self, limit: int) -> list[Event]:
        """The last events of all processes, newest first."""
        return self._table.select("TRUE ORDER BY number DESC LIMIT ?", (limit,))

    async def relay(self) -> None:
        """Pass on the events of other processes until cancelled. While nobody follows, that costs nothing."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._unkept:
                self._keep()
            if self._queues:
                self._relay()

    def _relay(self) -> None:
        changes = self._store.changes_elsewhere
        if changes == self._seen_changes:
            return
        newest = self._find_newest()
        others = "number > ? AND number <= ? AND origin <> ? ORDER BY number"
        for event in self._table.select(others, (self._read, newest, self._origin)):
            self._hand_over(event)
        self._read, self._seen_changes = newest, changes

    def _hand_over(self, event: Event) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def _keep(self) -> None:
        """Write down what is not yet, unless another process writes: then the next look or event does it."""
        try:
            if self._store.change_now(self._insert, durable=False):
                self._unkept.clear()
        except DiskFull as error:
            log.warning("events are not kept: %s", error.message)
            self._unkept.clear()

    def _insert(self) -> None:
        last = 0
        for event in self._unkept:
            last = self._table.insert(event, origin=self._origin)
        self._store.execute("DELETE FROM events WHERE number <= ?", (last - _KEEP,))

    def _find_newest(self) -> int:
        return int(self._store.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])


async def _read_events(queue: asyncio.Queue[Event]) -> AsyncIterator[Event]:
    while True:
        yield await queue.get()


def _format_now() -> str:
    return format_moment(datetime.now(UTC), "milliseconds")
