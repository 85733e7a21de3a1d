"""One operation: how far it is, how it ended, who follows it, and who may look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ikoma.errors import IkomaError, ShuttingDown, rebuild_failure
from ikoma.kernel.access.caller import Caller, is_own
from ikoma.kernel.answers.leading import dump_next
from ikoma.kernel.operations.journal import OperationStep, Record
from ikoma.kernel.redaction.redaction import withhold_if_long
from ikoma.model import Role
from ikoma.ports.progress import Progress

_MOST_FAILURE_BYTES = 128 << 10
_LONGEST_AUDIT = 1000


@dataclass
class Operation:
    """One that this process works on, or has worked on lately."""

    record: Record
    keeps: Callable[[bytes], bytes]
    """The result as records may keep it: without what is shown once."""
    steps: list[OperationStep] = field(default_factory=list)
    followers: list[Progress] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes | None = None
    """The result as it is told next: the whole of it once, to whoever made the call, and then as records keep it."""
    error: IkomaError | None = None
    began: bool = False
    """Whether it has changed anything: until it holds the app's lock, a retry may do it."""
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    withdrawn: bool = False
    """Whether a newer call has taken its place."""
    own: bool = False
    """Whether IKOMA does it by itself, without a call."""
    journalled: bool = True
    noted: float = 0.0

    def read_record(self) -> Record:
        """The record as it is now."""
        return replace(self.record, steps=tuple(self.steps))


def shorten_failure(error: IkomaError) -> dict[str, Any]:
    """A failure as its record keeps it: without what it quotes, where that is as long as a caller likes."""
    audit = withhold_if_long(error.audit_message, _LONGEST_AUDIT)
    failure: dict[str, Any] = {"code": error.code, "error": error.message, "audit": audit, "hint": error.hint}
    failure |= {"next": [dump_next(item) for item in error.next], "details": error.details}
    if len(orjson.dumps(failure, default=str)) <= _MOST_FAILURE_BYTES:
        return failure
    return failure | {"error": audit, "details": {}}


@contextmanager
def follow(operation: Operation, progress: Progress) -> Iterator[None]:
    operation.followers.append(progress)
    try:
        yield
    finally:
        operation.followers.remove(progress)


def take_over(operation: Operation, record: Record) -> None:
    operation.record, operation.answer = record, record.result
    if record.failure is not None:
        operation.error = rebuild_failure(**record.failure)
    elif record.result is None:
        operation.error = ShuttingDown("The server was stopped or killed before this was done.")
    operation.ended.set()


def may_see(record: Record, caller: Caller, role: Role) -> bool:
    if record.caller_id == caller.id:
        return True
    if not is_own(record.caller_id) and not caller.reaches_name(record.capability):
        return False
    return (role == Role.ADMIN and not caller.apps) or (record.app is not None and caller.reaches(record.app))
