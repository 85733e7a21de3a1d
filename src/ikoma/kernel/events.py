"""What happens, for whoever wants to hear it now: each changing call that has succeeded.

Nothing is kept: who was not listening asks for the present state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BACKLOG = 256


@dataclass(frozen=True, slots=True)
class Changed:
    """A capability that has changed something; of an app, where it works on one."""

    capability: str
    app: str | None


class Events:
    """Hands each event to all who listen. Who does not keep up misses the oldest."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Changed]] = set()

    def publish(self, changed: Changed) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(changed)

    @contextmanager
    def listening(self) -> Iterator[AsyncIterator[Changed]]:
        """In the block, no event is missed."""
        queue: asyncio.Queue[Changed] = asyncio.Queue(_BACKLOG)
        self._queues.add(queue)
        try:
            yield _events(queue)
        finally:
            self._queues.discard(queue)


async def _events(queue: asyncio.Queue[Changed]) -> AsyncIterator[Changed]:
    while True:
        yield await queue.get()
