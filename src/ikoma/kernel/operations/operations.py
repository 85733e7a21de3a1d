"""Operations: changing calls at work, which go on when whoever asked for them has gone.

Each runs in a task of its own and is journalled. Who waits may stop waiting, come back with its id, follow its
steps, or have it cancelled; a retry with the same idempotency key joins it instead of doing the work again.

What IKOMA does by itself to an app is an operation too. Most of it is a glance of milliseconds, so it gets a record
only when it does something, when it lasts, or when somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from ikoma.errors import (
    DiskFull,
    IdempotencyMismatch,
    IkomaError,
    Next,
    OperationCancelled,
    OperationElsewhere,
    OperationNotFound,
    OutOfScope,
    ShuttingDown,
)
from ikoma.kernel.access.caller import CARETAKER, Caller
from ikoma.kernel.operations.journal import (
    CANCELLED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    SUCCEEDED,
    Journal,
    OperationStep,
    Record,
    make_stamp,
)
from ikoma.kernel.operations.operation import Operation, follow, may_see, shorten_failure, take_over
from ikoma.model import Role
from ikoma.ports.progress import BUILD_LINE, Progress

log = logging.getLogger("ikoma")

_MOST_STEPS = 100
_NOTE_SECONDS = 0.5
_REMEMBER = 500
_POLL_SECONDS = 0.5
_GLANCE_SECONDS = 0.5
_GRACE_SECONDS = 60.0
Work = Callable[[Callable[[], None], Progress], Awaitable[bytes]]
"""Does the work and returns the result as JSON. It says when it begins to change things, and how far it is."""


class Operations:
    """All operations: those at work in memory, every one of them in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._here: dict[str, Operation] = {}
        self._done: deque[str] = deque()
        """Those of them that have ended, the oldest first."""
        self._closing = False

    def find_earlier(self, record: Record) -> Operation | None:
        """The operation that this caller has begun with the same idempotency key.

        Raises:
            IdempotencyMismatch: it was another call.
        """
        if record.idempotency_key is None:
            return None
        found = self._journal.find_by_key(record.caller_id, record.idempotency_key)
        if found is None:
            return None
        if found.digest != record.digest:
            raise IdempotencyMismatch(
                f"This key was used for another call, {found.capability} (request {found.id}).",
                next=Next("operations.get", {"operationId": found.id}),
            )
        return self._here.get(found.id) or self._restore_operation(found)

    async def start(
        self,
        record: Record,
        work: Work,
        progress: Progress,
        *,
        keeps: Callable[[bytes], bytes] = bytes,
        unjournalled: bool = False,
    ) -> Operation:
        """Begin an operation; the earlier one where another with its key came first.

        Args:
            keeps: the result as records may keep it.
            unjournalled: it begins, also where the journal cannot be written.
        """
        try:
            earlier = await self._journal.change(partial(self._begin, record))
        except DiskFull:
            if not unjournalled:
                raise
            earlier = None
        if earlier is not None:
            return self.find_earlier(record) or await self.start(record, work, progress, keeps=keeps)
        operation = Operation(record, keeps, followers=[progress])
        self._here[record.id] = operation
        operation.task = asyncio.ensure_future(self._perform(operation, work))
        return operation

    @asynccontextmanager
    async def begin_own(self, identity: str, capability: str, app: str) -> AsyncIterator[Progress]:
        """Around what IKOMA does by itself to an app: an operation of that id. Yields what takes its steps."""
        record = Record(identity, capability, app, CARETAKER.id, CARETAKER.name, {}, digest="", idempotency_key=None)
        operation = Operation(
            record,
            bytes,
            steps=[OperationStep(f"looking after {app}", make_stamp())],
            task=asyncio.current_task(),
            began=True,
            own=True,
            journalled=False,
        )
        self._here[identity] = operation
        lasting = asyncio.get_running_loop().call_later(_GLANCE_SECONDS, self._journalise, operation)
        state = FAILED
        try:
            yield partial(self._note, operation)
            state, operation.answer = SUCCEEDED, b"{}"
        except IkomaError as error:
            operation.error = error
            raise
        except asyncio.CancelledError:
            state, operation.error = INTERRUPTED, ShuttingDown("The server stopped before this was done.")
            raise
        except BaseException:
            operation.error = IkomaError()
            raise
        finally:
            lasting.cancel()
            await self._end(operation, state)
            self._forget_old(identity)

    async def await_outcome(self, operation: Operation, seconds: float | None) -> bytes | None:
        """Wait for the outcome: the result, its error raised, or None when it has not ended within that time.

        What the result shows once is in the first answer only; a retry with the same idempotency key gets the rest.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._forget_ended(operation)
        if not operation.ended.is_set():
            return None
        if operation.error is not None:
            raise operation.error
        answer, operation.answer = operation.answer, operation.record.result
        assert answer is not None
        return answer

    def get(self, identity: str, caller: Caller, role: Role) -> Record:
        """An operation's record; OperationNotFound where there is none that this caller may see."""
        record = self._find(identity)
        if record is None or not may_see(record, caller, role):
            raise OperationNotFound(f"There is no operation {identity[:40]!r}.")
        return record

    def is_known(self, identity: str) -> bool:
        """Whether there is such an operation, whoever may look at it."""
        return self._find(identity) is not None

    def may_see(self, identity: str, caller: Caller, role: Role) -> bool:
        """Whether there is such an operation, and this caller may look at it."""
        record = self._find(identity)
        return record is not None and may_see(record, caller, role)

    async def wait(self, identity: str, caller: Caller, role: Role, *, seconds: float, progress: Progress) -> Record:
        """The record when it has ended, or as it is after that many seconds."""
        record = self.get(identity, caller, role)
        operation = self._here.get(identity) or self._restore_operation(record)
        with follow(operation, progress), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._forget_ended(operation)
        return self.get(identity, caller, role)

    async def cancel(self, identity: str, caller: Caller, role: Role) -> Record:
        """Stop an operation and wait until all it had under way is put right; one that has ended stays as it is.

        Raises:
            OutOfScope: another key's operation; only an admin may stop those.
            OperationElsewhere: another server works on it.
        """
        record = self.get(identity, caller, role)
        if record.caller_id != caller.id and role < Role.ADMIN:
            raise OutOfScope(
                "This operation was begun with another key.", hint="Only that key or an admin may cancel it."
            )
        operation = self._here.get(identity)
        if operation is not None and operation.own:
            raise OutOfScope(
                "IKOMA does this by itself, and would begin it again.", hint="operations.wait waits for its end."
            )
        if operation is None or operation.task is None:
            if record.state == RUNNING:
                raise OperationElsewhere(f"Operation {identity} runs in another server.")
            return record
        operation.cancelled = True
        operation.task.cancel()
        await asyncio.wait([operation.task])
        return self.get(identity, caller, role)

    def list_newest(self, limit: int, app: str | None, caller: Caller, role: Role) -> list[Record]:
        """The newest operations that this caller may see, newest first."""
        for operation in self._here.values():
            if not operation.ended.is_set():
                self._journalise(operation)
        found = self._journal.list_newest(limit, app, lambda record: may_see(record, caller, role))
        return [self._find(record.id) or record for record in found]

    def find_under_way(self, app: str, caller: Caller, role: Role) -> Record | None:
        """The operation that works on an app now, where this caller may see it; else one that waits for its turn."""
        found = [record for record in self._journal.list_running(app) if may_see(record, caller, role)]
        waits = {operation.record.id for operation in self._here.values() if not operation.began}
        found.sort(key=lambda record: record.id in waits)
        return (self._find(found[0].id) or found[0]) if found else None

    def withdraw_others(self, record: Record) -> None:
        """Cancel the same capability's operations on the same app that have changed nothing yet, all but this one."""
        for other in self._here.values():
            same = (other.record.capability, other.record.app) == (record.capability, record.app)
            if same and other.record.id != record.id and other.task and not other.began and not other.ended.is_set():
                other.cancelled = other.withdrawn = True
                other.task.cancel()

    async def drain(self) -> None:
        """Take no more, and wait a minute at most for those that callers have begun; what IKOMA does itself goes on."""
        self._closing = True
        here = self._here.values()
        tasks = [operation.task for operation in here if operation.task and not operation.own]
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)

    async def close(self, grace: float) -> None:
        """Take no more, let those at work end within the grace (seconds), and cut off the others."""
        self._closing = True
        tasks = [operation.task for operation in self._here.values() if operation.task and not operation.task.done()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _perform(self, operation: Operation, work: Work) -> None:
        loop = asyncio.get_running_loop()

        def progress(message: str, fraction: float | None = None) -> None:
            if threading.get_ident() == here:
                self._note(operation, message, fraction)
            else:  # work in a thread reports from there
                loop.call_soon_threadsafe(self._note, operation, message, fraction)

        here = threading.get_ident()

        def began() -> None:
            operation.began = True

        state = SUCCEEDED
        try:
            operation.answer = await work(began, progress)
        except IkomaError as error:
            state, operation.error = FAILED, error
        except asyncio.CancelledError:
            state = CANCELLED if operation.cancelled else INTERRUPTED
            operation.error = (
                OperationCancelled("A newer call took the place of this one." if operation.withdrawn else None)
                if operation.cancelled
                else ShuttingDown("The server stopped before this was done.")
            )
        finally:
            await self._end(operation, state)
            self._forget_old(operation.record.id)

    def _begin(self, record: Record) -> Record | None:
        if self._closing:
            raise ShuttingDown()
        return self._journal.begin(record)

    async def _end(self, operation: Operation, state: str) -> None:
        error = operation.error
        operation.record = replace(
            operation.record,
            steps=tuple(operation.steps),
            state=state,
            result=None if operation.answer is None else operation.keeps(operation.answer),
            failure=None if error is None else shorten_failure(error),
            finished_at=make_stamp(),
        )
        operation.ended.set()
        if not operation.journalled:
            return
        try:
            await self._journal.change(partial(self._write_end, operation))
        except IkomaError as failed:
            log.error("operation %s: its end is not journalled: %s", operation.record.id, failed.message)

    def _write_end(self, operation: Operation) -> None:
        record = operation.record
        self._journal.end(record)
        if operation.own:
            self._journal.forget_failures(record)
        if record.state == INTERRUPTED or not operation.began:
            self._journal.release_key(record.id)

    def _note(self, operation: Operation, message: str, fraction: float | None = None) -> None:
        steps = operation.steps
        if steps and steps[-1].name == message:
            steps[-1] = replace(steps[-1], fraction=fraction)
        else:
            if message.startswith(BUILD_LINE):  # steps are kept, and of lines the last
                steps[:] = [step for step in steps if not step.name.startswith(BUILD_LINE)]
            steps.append(OperationStep(message[:200], make_stamp(), fraction))
            del steps[:-_MOST_STEPS]
        if time.monotonic() - operation.noted >= _NOTE_SECONDS:
            operation.noted = time.monotonic()
            self._journalise(operation)
            with contextlib.suppress(IkomaError):  # a full disk must not end work that is nearly done
                self._journal.change_now(partial(self._journal.note, operation.record.id, steps))
        for follower in list(operation.followers):
            follower(message, fraction)

    async def _forget_ended(self, operation: Operation) -> None:
        if operation.task is not None or operation.ended.is_set():
            await operation.ended.wait()
            return
        while not operation.ended.is_set():  # another server works on it: its journal tells
            await asyncio.sleep(_POLL_SECONDS)
            found = self._journal.find(operation.record.id)
            if found is None or found.state != RUNNING:
                take_over(operation, found or operation.record)

    def _find(self, identity: str) -> Record | None:
        operation = self._here.get(identity)
        if operation is None:
            return self._journal.find(identity)
        self._journalise(operation)
        return operation.read_record()

    def _journalise(self, operation: Operation) -> None:
        """Give what IKOMA does by itself a record, unless it has one."""
        if not operation.journalled and not operation.ended.is_set():
            with contextlib.suppress(IkomaError):  # a full disk: it is known for as long as it runs
                operation.journalled = self._journal.change_now(partial(self._journal.begin, operation.record))

    def _restore_operation(self, record: Record) -> Operation:
        operation = Operation(record, bytes, steps=list(record.steps))
        if record.state != RUNNING:
            take_over(operation, record)
        return operation

    def _forget_old(self, ended: str) -> None:
        if not self._here[ended].journalled:  # a glance that nobody has heard of
            del self._here[ended]
            return
        self._done.append(ended)
        while len(self._done) > _REMEMBER:
            self._here.pop(self._done.popleft(), None)
