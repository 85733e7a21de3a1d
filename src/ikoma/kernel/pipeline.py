"""The path that every call walks, whatever the door: nothing goes round it.

authenticate → authorise → validate → confirm → lock → journal → run → audit. A read is answered at once; a call that
changes something is an operation of its own, which goes on when its caller has gone. A call that fails on the way
leaves one audit entry that says why; a changing call leaves two, its intent before it acts and its result after.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from ikoma.errors import (
    IkomaError,
    Next,
)
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.authentication import Authentication
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.consent import Consent, ConsentRequest
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.admission import Admission, AdmittedCall, make_reader, may_see_paths
from ikoma.kernel.answers.leading import dump_next
from ikoma.kernel.answers.scrubbing import scrub_result
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.answers.telling import Reader, Telling
from ikoma.kernel.audit.call_record import CallRecorder
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.audit.masking import mask_result
from ikoma.kernel.call import LOCAL, Attempt, CallAnswer, CallContext, Emit
from ikoma.kernel.coalesce import Turn
from ikoma.kernel.events import Event, EventKind, Events, Severity
from ikoma.kernel.locks import PATIENCE, Holder, Locks
from ikoma.kernel.operations.journal import Record
from ikoma.kernel.operations.operation import Operation
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.redaction.redaction import Scrubber, withhold_if_long
from ikoma.kernel.registry import AppRequest, Loss, Registry
from ikoma.kernel.requests import LONGEST_NAME
from ikoma.model import Effect, Role
from ikoma.ports.progress import Progress, ignore_progress

if TYPE_CHECKING:
    from ikoma.kernel.access.tokens import Tokens

log = logging.getLogger("ikoma")


class Pipeline:
    """Executes calls.

    Args:
        registry: what can be called.
        make_call: turns who calls into the call that capabilities of this registry take.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        callers: Callers,
        rate_limit: RateLimit,
        audit: AuditLog,
        locks: Locks,
        operations: Operations,
        make_call: Callable[[CallContext], Any],
        approvals: Approvals,
        throttle: Throttle,
        events: Events,
        tokens: Tokens | None = None,
        scrubber: Scrubber | None = None,
        paths: ServerPaths | None = None,
    ) -> None:
        self.registry = registry
        self.operations = operations
        self.events = events
        self.authentication = Authentication(registry, callers, tokens, throttle, rate_limit)
        self._locks = locks
        self._scrubber = scrubber or Scrubber()
        self._admission = Admission(registry, self.authentication, self._scrubber)
        self._recorder = CallRecorder(audit, self._scrubber)
        self._consent = Consent(approvals, callers, self._scrubber)
        self._telling = Telling(registry, paths)
        self._make_call = make_call
        self._stopping = asyncio.Event()
        self._turn = Turn()

    async def execute(
        self, attempt: Attempt, progress: Progress = ignore_progress, emit: Emit | None = None
    ) -> CallAnswer:
        """Do what was asked; every refusal and failure is an IkomaError.

        Args:
            emit: takes lines of the answer of a read that streams.
        """
        entry, began = AuditEntry(attempt.request_id, self._name_for_log(attempt.capability)), time.perf_counter()
        caller, role, admitted = None, Role.OBSERVER, None
        try:
            caller, role = await self._admission.authenticate(attempt, entry)
            admitted = await self._admission.admit(attempt, caller, role, entry)
            if admitted.capability.effect is Effect.READS:
                async with self.authentication.guard(attempt.key):
                    body = await self._run(admitted, progress, emit)
            else:
                operation = await self._begin(admitted, entry, began, progress)
        except BaseException as error:
            answer = self._record_failure(entry, began, error, caller, admitted, attempt.address)
            raise self._tell_failure(answer, make_reader(caller, role, attempt, admitted)) from _find_cause(
                answer, error
            )
        if admitted.capability.effect is not Effect.READS:
            return await self._await_outcome(operation, admitted)
        await self._recorder.write_read(entry, began)
        return CallAnswer(body)

    async def identify(
        self, key: str | None, role: str | None, *, what: str, address: str = LOCAL, counts: bool = True
    ) -> Caller:
        """The caller, for a door that answers some things before anything is called; a refusal is on record.

        Args:
            what: the name under which the audit log has it.
            counts: whether it counts for the key's rate: not where what is called for next does.
        """
        try:
            caller = await self.authentication.identify(key, address)
            self.authentication.admit(caller, role, counts=counts)
        except IkomaError as error:
            self.record_refused(what, error, None, address)
            raise
        return caller

    def refuse_unproven(self, what: str, error: IkomaError, address: str) -> IkomaError:
        """Count at its address, and put on record, what a door refused for want of a proof; what to answer."""
        error = self.authentication.count_guess(address) or error
        self.record_refused(what, error, None, address)
        return error

    def record_refused(self, what: str, error: IkomaError, caller: str | None, address: str = LOCAL) -> None:
        """Put on record what a door refused by itself, before there was a call."""
        self._recorder.write_refused(what, error, caller, address)

    def stop(self) -> None:
        """Tell the calls that are answered in a stream that the server stops."""
        self._stopping.set()

    def close(self) -> None:
        """Put on record what was only counted so far."""
        self._recorder.close()

    def _name_for_log(self, capability: str) -> str:
        """The name of what was asked for, as the log has it: what only looks like one of ours is marked."""
        return (
            capability
            if capability in self.registry
            else f"[unknown] {withhold_if_long(capability, LONGEST_NAME, 'name')}"
        )

    def _record(self, admitted: AdmittedCall, entry: AuditEntry) -> Record:
        attempt, caller = admitted.attempt, admitted.caller
        return Record(
            id=attempt.request_id,
            capability=admitted.capability.name,
            app=admitted.app,
            caller_id=caller.id,
            caller=caller.name,
            arguments=entry.arguments,
            digest=admitted.digest,
            idempotency_key=admitted.given.idempotency_key,
        )

    async def _begin(self, admitted: AdmittedCall, entry: AuditEntry, began: float, progress: Progress) -> Operation:
        """Begin the operation of a changing call, or find the one that an earlier try has begun."""
        record = self._record(admitted, entry)
        operation = self.operations.find_earlier(record)
        if operation is None:
            await self._consent.check(self._ask_consent(admitted, entry), take=False)
            work = partial(self._run_operation, admitted, entry)
            keeps = partial(mask_result, admitted.capability)
            unaudited = admitted.capability.unaudited
            operation = await self.operations.start(record, work, progress, keeps=keeps, unjournalled=unaudited)
            if admitted.capability.queued:
                self.operations.withdraw_others(operation.record)
        if operation.record.id != record.id:  # a retry: the first call has its own entries
            self._recorder.write_end(entry, began, code="replayed")
        return operation

    def _ask_consent(self, admitted: AdmittedCall, entry: AuditEntry) -> ConsentRequest:
        return ConsentRequest(
            admitted.caller,
            admitted.capability,
            admitted.digest,
            admitted.app,
            entry.arguments,
            admitted.given.confirmation,
            admitted.attempt.asks,
            partial(self._find_loss, admitted),
        )

    async def _find_loss(self, admitted: AdmittedCall) -> Loss | None:
        """The things that this call would lose for good."""
        loses = admitted.capability.loses
        if loses is None:
            return None
        try:
            return await loses(self._call(admitted, ignore_progress), admitted.request)
        except IkomaError as error:
            error.withhold_guess()
            raise

    async def _run_operation(
        self, admitted: AdmittedCall, entry: AuditEntry, began: Callable[[], None], progress: Progress
    ) -> bytes:
        """A changing call's own work, in its operation."""
        since, severity = time.perf_counter(), Severity.WARNING
        try:
            async with self._hold_lock(admitted, progress):
                # Its intent is on the disk before the call acts, or the call is refused.
                await self._recorder.write_intent(entry, admitted.capability)
                await self._consent.check(self._ask_consent(admitted, entry), take=True)
                began()
                severity = Severity.ERROR
                answer = await self._run(admitted, progress)
        except BaseException as error:
            failure = self._record_failure(entry, since, error, admitted.caller, admitted)
            self._tell(admitted, EventKind.FAILED, severity, entry.error or "")
            raise failure from _find_cause(failure, error)
        self._recorder.write_end(entry, since)
        self._tell(admitted, EventKind.SUCCEEDED, Severity.INFO)
        return answer

    def _tell(self, admitted: AdmittedCall, kind: EventKind, severity: Severity, message: str = "") -> None:
        """Tell all who follow events how an operation has ended."""
        operation, capability = admitted.attempt.request_id, admitted.capability.name
        self.events.publish(Event(kind, severity, admitted.app, operation, capability, message))

    async def _run(self, admitted: AdmittedCall, progress: Progress, emit: Emit | None = None) -> bytes:
        capability, app, scrubber, reach = admitted.capability, admitted.app, self._scrubber, admitted.caller.apps

        reader = admitted.reader

        def tell(message: str, fraction: float | None = None) -> None:
            progress(self._telling.fit_text(scrubber.scrub_own(message, app, reach), reader), fraction)

        async def say(line: str) -> None:
            assert emit is not None
            await emit(scrubber.scrub_text(line, app, reach))

        call = self._call(admitted, tell, None if emit is None else say)
        try:
            result = await capability.run(call, admitted.request)
            # Of those who get the very same result in one turn, each reader's answer is made once.
            return self._turn.share(
                "answer", result, (capability.name, reader), lambda: self._answer(admitted, result, reader)
            )
        except IkomaError as error:
            if not capability.guesses:
                error.withhold_guess()
            scrubber.scrub_error(error, app, reach)
            raise

    def _answer(self, admitted: AdmittedCall, result: Any, reader: Reader) -> bytes:
        """A result as its reader sees it. What is secret is looked for after the result was made."""
        capability = admitted.capability
        encoded = capability.encode(result)
        scrubbed = scrub_result(self._scrubber, capability, encoded, admitted.app, admitted.caller.apps)
        return self._telling.tell_result(capability, scrubbed, reader)

    def _call(self, admitted: AdmittedCall, progress: Progress, emit: Emit | None = None) -> Any:
        identity = admitted.attempt.request_id
        told = (may_see_paths(admitted.role, admitted.attempt), admitted.attempt.lists, self._stopping)
        return self._make_call(CallContext(admitted.caller, admitted.role, identity, progress, emit, *told))

    def _hold_lock(self, admitted: AdmittedCall, progress: Progress) -> AbstractAsyncContextManager[None]:
        capability, request, own = admitted.capability, admitted.request, admitted.caller.own
        if capability.exclusive and isinstance(request, AppRequest):
            # What IKOMA had reason to do by itself, it has not after another call: then it looks again.
            patience = math.inf if capability.queued or admitted.caller.is_patient else 0.0 if own else PATIENCE
            holder = Holder(capability.name, admitted.attempt.request_id, own)
            return self._locks.hold(request.locked, holder, patience=patience, progress=progress)
        return nullcontext()

    async def _await_outcome(self, operation: Operation, admitted: AdmittedCall) -> CallAnswer:
        given = admitted.given.wait
        seconds = admitted.attempt.wait if given is None else given
        if admitted.capability.secret_results:
            seconds = None  # what is shown once is in this answer or nowhere
        try:
            answer = await self.operations.await_outcome(operation, seconds)
        except IkomaError as error:
            raise self._tell_failure(error, admitted.reader) from error.__cause__
        if answer is not None:
            return CallAnswer(answer)
        return CallAnswer(self._describe_going_on(operation.read_record(), admitted), operation=operation.record.id)

    def _describe_going_on(self, record: Record, admitted: AdmittedCall) -> bytes:
        """The answer to a caller whose call goes on as an operation."""
        identity = {"operationId": record.id}
        said = f"{record.capability} goes on; operations.cancel {orjson.dumps(identity).decode()} stops it."
        told = {
            **identity,
            "state": record.state,
            "capability": record.capability,
            "message": self._telling.fit_text(said, admitted.reader),
        }
        known = [Next(name, identity) for name in ("operations.wait", "operations.get")]
        lead = self._telling.leading.choose(known, admitted.caller, admitted.role, lists=admitted.attempt.lists)
        return orjson.dumps(told | ({} if lead is None else {"next": dump_next(lead)}))

    def _record_failure(
        self,
        entry: AuditEntry,
        began: float,
        error: BaseException,
        caller: Caller | None,
        admitted: AdmittedCall | None,
        address: str = LOCAL,
    ) -> BaseException:
        """Write the last entry of a call that failed; what is raised then leads on, unless it was cancelled."""
        answer = self._recorder.write_failure(entry, began, error, caller, address)
        if isinstance(answer, IkomaError) and admitted is not None:
            given = admitted.given.arguments
            answer.next = self._telling.leading.complete(answer.next, admitted.capability, given)
            answer.hint = self._telling.complete_text(answer.hint, given)
        return answer

    def _tell_failure(self, error: BaseException, reader: Reader | None) -> BaseException:
        """A failure as its caller sees it."""
        if not isinstance(error, IkomaError) or reader is None:
            return error
        seen = copy.copy(error)
        seen.next = tuple(item for item in error.next if self._can_see(item, reader))
        return self._telling.tell_failure(seen, reader)

    def _can_see(self, item: Next, reader: Reader) -> bool:
        """Whether the operation that a call is about, where it is about one, is there for this caller."""
        identity = item.arguments.get("operationId")
        return identity is None or self.operations.may_see(str(identity), reader.caller, reader.role)


def _find_cause(raised: BaseException, error: BaseException) -> BaseException | None:
    return error.__cause__ if raised is error else error
