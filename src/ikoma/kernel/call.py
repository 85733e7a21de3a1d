"""A call: one request to a capability, from the door to the function that does the work.

Nothing changes what is here once it is made. It is not frozen: each call makes all of it, three times as fast so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ikoma.kernel.access.caller import Caller
from ikoma.kernel.answers.leading import Lists, list_all
from ikoma.model import Role
from ikoma.ports.progress import Progress

LOCAL = "local"
"""The address of callers on this machine that came through a socket file or a pipe."""

Emit = Callable[[str], Awaitable[None]]
"""Takes a line of the answer; waits where its client is slow."""

ReadArguments = Callable[[int], Awaitable[Mapping[str, Any]]]
"""Reads the arguments, given the most bytes they may take. Called only once the caller is known and allowed."""


@dataclass(slots=True)
class Attempt:
    """A request as a door hands it to the pipeline: nothing in it is checked yet."""

    capability: str
    key: str | None
    role: str | None
    request_id: str
    read_arguments: ReadArguments
    idempotency_key: str | None = None
    wait: float | None = None
    """Seconds after which this door would rather have an operation's id, where the call does not say; None: never."""
    caller: Caller | None = None
    """Owner of the key, where the door has just found that out for this very request."""
    asks: bool = False
    """Whether this door puts destroying calls before a person first."""
    address: str = LOCAL
    """Where the caller is: an address of the network, or this machine."""
    lists: Lists = list_all
    """Which capabilities the caller's client offers."""


@dataclass(slots=True)
class CallAnswer:
    """The outcome of a call: JSON. `operation` is set when the work goes on as that operation."""

    body: bytes
    operation: str | None = None


@dataclass(slots=True)
class CallContext:
    """The part of a call that every capability has: who calls, as what, and where progress goes."""

    caller: Caller
    role: Role
    request_id: str
    progress: Progress
    emit: Emit | None = None
    """Hands a line of the answer over while the call goes on; None where the door has no stream."""
    sees_paths: bool = True
    """Whether it is told paths on the server."""
    lists: Lists = list_all
    """To which capabilities it may be led."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: what would go on for as long as its client likes ends then."""
