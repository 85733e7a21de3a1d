"""Calls of the adapter to the platform: by the same pipeline as every other door, with what is special about this one.

Destroying calls are put before a person first, and a call that takes long becomes an operation before its host gives
up on it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ikoma.errors import BodyTooLarge, IkomaError, InvalidArguments
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.key_guard import KeyGuard
from ikoma.kernel.call import LOCAL, Attempt, CallAnswer
from ikoma.kernel.events import Event
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import Capability
from ikoma.kernel.words import reword_step
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.transports.mcp.tools import describe_arguments, is_chosen, make_tool_name
from ikoma.transports.mcp.wording.speech import Speech

WAIT_SECONDS = 45.0
"""Hosts give up on a tool call after about a minute."""


@dataclass(frozen=True, slots=True)
class McpConnection:
    """The client at the other end, and what of the tools it wants to see.

    `session` tells apart the requests of two clients, whose ids may be the same. `caller` is whose key it is, where
    that was found out for this very request. `size` is the most bytes this request came in.
    """

    key: str | None
    role: str | None
    toolsets: Sequence[str] = ()
    session: str = ""
    caller: Caller | None = None
    size: int = 0
    address: str = LOCAL
    """Where it is: an address of the network, or this machine."""
    patience: float = WAIT_SECONDS
    """Seconds after which an operation's id is welcome instead of its result."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as a client makes it."""

    who: McpConnection
    capability: str
    arguments: Mapping[str, Any]
    request_id: str = field(default_factory=lambda: f"{random.getrandbits(96):024x}")

    async def read(self, limit: int) -> Mapping[str, Any]:
        if self.who.size > limit:
            raise BodyTooLarge(f"The call has {self.who.size} bytes; this one takes at most {limit}.")
        return self.arguments


class Calls:
    """Calls over one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._speech = Speech(pipeline.registry)

    async def execute(self, ask: ToolCall, progress: Progress = ignore_progress) -> CallAnswer:
        """Do what is asked; raises IkomaError."""
        lists = partial(is_chosen, toolsets=ask.who.toolsets)
        attempt = Attempt(
            capability=ask.capability,
            key=ask.who.key,
            role=ask.who.role,
            request_id=ask.request_id,
            read_arguments=ask.read,
            caller=ask.who.caller,
            wait=ask.who.patience,
            asks=True,
            address=ask.who.address,
            lists=lists,
        )
        words = self._speech.make_rewording(ask.arguments)

        def tell(message: str, fraction: float | None = None) -> None:
            progress(reword_step(message, words), fraction)

        try:
            answer = await self._pipeline.execute(attempt, tell)
        except IkomaError as error:
            self._speech.word_error(error, ask.arguments, lists)
            if isinstance(error, InvalidArguments) and error.hint.startswith(
                f"{make_tool_name(ask.capability)} takes "
            ):
                error.hint = describe_arguments(self._pipeline.registry.get(ask.capability))
            raise
        return replace(answer, body=self._speech.word_body(ask.capability, answer.body, ask.arguments, lists))

    async def list_visible(self, who: McpConnection, *, counts: bool = True) -> Sequence[Capability]:
        """The capabilities that this caller may call now; a request of its own, unless it is looked up on the way."""
        return await self._pipeline.authentication.list_visible(who.key, who.role, LOCAL, counts=counts)

    def guard_key(self, who: McpConnection) -> KeyGuard:
        """Around a stream: it ends with the key."""
        return self._pipeline.authentication.guard(who.key)

    async def may_see(self, who: McpConnection, event: Event) -> bool:
        """Whether this caller may hear of an event."""
        try:
            caller = await self._pipeline.authentication.reidentify(who.key)
        except IkomaError:  # it was revoked meanwhile
            return False
        return event.app is None or caller.reaches(event.app)
