"""What the adapter needs of the platform: to call, to know what may be called, and to hear what changed.

The server gives its own pipeline; `ikoma mcp` beside a running server gives that server, over its socket.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ikoma.errors import BodyTooLarge, Unauthenticated
from ikoma.kernel.call import Answer, Attempt
from ikoma.kernel.callers import Caller
from ikoma.kernel.events import Changed
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import Capability
from ikoma.ports import Progress, no_progress

WAIT_SECONDS = 45.0
"""Hosts give up on a tool call after about a minute: before that, a call becomes an operation."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who is at the other end: a key, the role it asks for, and whose key it is, where that is known already."""

    key: str | None
    role: str | None
    caller: Caller | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """Who sent a request, and what of the tools it wants to see."""

    credential: Credential
    toolsets: Sequence[str] = ()
    size: int = 0
    """The most bytes this request came in."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call as a client makes it. `size` is the most bytes its arguments may have come in, where known."""

    capability: str
    arguments: Mapping[str, Any]
    credential: Credential
    request_id: str
    size: int = 0

    @classmethod
    def of(cls, capability: str, arguments: Mapping[str, Any], credential: Credential, size: int = 0) -> Ask:
        return cls(capability, arguments, credential, f"{random.getrandbits(96):024x}", size)


class Calls(Protocol):
    """The platform, here or over a socket."""

    async def execute(self, ask: Ask, progress: Progress = no_progress) -> Answer:
        """Do what is asked; raises IkomaError."""

    async def visible(self, credential: Credential) -> Sequence[Capability]:
        """What this caller may call."""

    async def sees(self, credential: Credential, changed: Changed) -> bool:
        """Whether this caller may hear of a change."""


class OwnPipeline:
    """The pipeline of this process."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def execute(self, ask: Ask, progress: Progress = no_progress) -> Answer:
        async def read(limit: int) -> Mapping[str, Any]:
            if ask.size > limit:
                raise BodyTooLarge(f"The call has {ask.size} bytes; this one takes at most {limit}.")
            return ask.arguments

        attempt = Attempt(
            capability=ask.capability,
            key=ask.credential.key,
            role=ask.credential.role,
            request_id=ask.request_id,
            read_arguments=read,
            caller=ask.credential.caller,
            wait=WAIT_SECONDS,
            asks=True,
        )
        return await self._pipeline.execute(attempt, progress)

    async def visible(self, credential: Credential) -> Sequence[Capability]:
        return await self._pipeline.visible(credential.key, credential.role)

    async def sees(self, credential: Credential, changed: Changed) -> bool:
        try:
            caller = await self._pipeline.caller(credential.key)
        except Unauthenticated:  # it was revoked meanwhile
            return False
        return changed.app is None or caller.reaches(changed.app)
