"""The path that every call walks, whatever the door: nothing goes round it.

authenticate → authorise → validate → confirm → lock → journal → run → audit. A read is answered at once; a call that
changes something is an operation of its own, which goes on when its caller has gone. A call that fails on the way
leaves one audit entry that says why; a changing call leaves two, its intent before it acts and its result after.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from ikoma.errors import (
    AuditUnavailable,
    Declined,
    DiskFull,
    IkomaError,
    MalformedRequest,
    Next,
    OperationCancelled,
    RoleTooLow,
    TooManyFailures,
    Unauthenticated,
    UnknownRole,
)
from ikoma.kernel.access import controls
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Caller, Callers
from ikoma.kernel.access.confirmations import Confirmations
from ikoma.kernel.access.key_guard import KeyGuard
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.access.tokens import Tokens
from ikoma.kernel.answers.leading import dump_next
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.answers.telling import Reader, Telling
from ikoma.kernel.audit.log import ERROR, STARTED, SUCCESS, AuditEntry, AuditLog
from ikoma.kernel.audit.masking import mask_arguments, mask_result
from ikoma.kernel.audit.refusals import Refusals
from ikoma.kernel.call import LOCAL, Attempt, CallAnswer, CallContext, Emit
from ikoma.kernel.events import Event, EventKind, Events, Severity
from ikoma.kernel.journal import Record
from ikoma.kernel.locks import PATIENCE, Holder, Locks
from ikoma.kernel.operations import Operation, Operations
from ikoma.kernel.redaction.redaction import Scrubber, withhold_if_long
from ikoma.kernel.registry import LONGEST_NAME, AppRequest, Capability, Loss, Registry, Request
from ikoma.model import Effect, Role
from ikoma.ports.progress import Progress, ignore_progress

log = logging.getLogger("ikoma")


@dataclass(slots=True)
class _Admitted:
    """A call that is allowed and fits: what is left is to do it."""

    attempt: Attempt
    caller: Caller
    role: Role
    capability: Capability
    given: controls.Given
    request: Request

    @property
    def app(self) -> str | None:
        return self.request.app_name if isinstance(self.request, AppRequest) else None

    @property
    def reader(self) -> Reader:
        attempt = self.attempt
        return Reader(self.caller, self.role, self.given.arguments, _sees_paths(self.role, attempt), attempt.lists)

    @property
    def digest(self) -> str:
        return controls.compute_digest(self.capability, self.given.arguments)


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
        self.callers = callers
        self.operations = operations
        self.events = events
        self._tokens = tokens
        self._rate_limit = rate_limit
        self._audit = audit
        self._locks = locks
        self._confirmations = Confirmations()
        self._approvals = approvals
        self._throttle = throttle
        self._refusals = Refusals(audit.append_if_possible)
        self._scrubber = scrubber or Scrubber()
        self._telling = Telling(registry, paths)
        self._make_call = make_call
        self._stopping = asyncio.Event()

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
            caller, role = await self._authenticate(attempt, entry)
            admitted = await self._admit(attempt, caller, role, entry)
            if admitted.capability.effect is Effect.READS:
                async with self.guard_key(attempt.key):
                    body = await self._run(admitted, progress, emit)
            else:
                operation = await self._begin(admitted, entry, began, progress)
        except BaseException as error:
            answer = self._record_failure(entry, began, error, caller, admitted, attempt.address)
            raise self._tell_failure(answer, _make_reader(caller, role, attempt, admitted)) from _find_cause(
                answer, error
            )
        if admitted.capability.effect is not Effect.READS:
            return await self._await_outcome(operation, admitted)
        self._end(entry, began)
        await self._audit.append_with_others(entry)
        return CallAnswer(body)

    async def identify_key(self, key: str | None, address: str = LOCAL) -> Caller:
        """The caller whose key or token this is; Unauthenticated where it is nobody's, TooManyFailures after many."""
        self._throttle.check(address, key)
        try:
            caller = await self.reidentify_key(key)
        except Unauthenticated:
            if key:  # no key is no guess
                self._throttle.count_failure(address)
            raise
        self._throttle.remember_success(address, key or "")
        return caller

    async def reidentify_key(self, key: str | None) -> Caller:
        """Like `caller`, for one who was known before: that the key has ended meanwhile is no guess."""
        if key and self._is_token(key):
            assert self._tokens is not None
            return await asyncio.to_thread(self._tokens.identify_caller, key)
        return self.callers.authenticate(key)

    def guard_key(self, key: str | None) -> KeyGuard:
        """Around what may take long: it ends with the key. A token ends by itself, and was looked at once."""
        known = key is None or self._is_token(key)
        return KeyGuard((lambda: None) if known else partial(self.callers.authenticate, key))

    def _is_token(self, key: str) -> bool:
        return self._tokens is not None and self._tokens.is_token(key)

    async def list_visible(
        self, key: str | None, role: str | None, address: str = LOCAL, *, counts: bool = True
    ) -> Sequence[Capability]:
        """The capabilities that this key, in this role, may call.

        Args:
            counts: whether this is a request of its own for the key's rate, and not a part of one.
        """
        caller = await self.identify_key(key, address)
        if counts:
            self._rate_limit.count(caller.id, caller.rate)
        taken = caller.narrow_role(_read_role(role))
        return [item for item in self.registry if item.role <= taken and caller.reaches_capability(item)]

    async def identify(
        self, key: str | None, role: str | None, *, what: str, address: str = LOCAL, counts: bool = True
    ) -> Caller:
        """The caller, for a door that answers some things before anything is called; a refusal is on record.

        Args:
            what: the name under which the audit log has it.
            counts: whether it counts for the key's rate: not where what is called for next does.
        """
        try:
            caller = await self.identify_key(key, address)
            if counts:
                self._rate_limit.count(caller.id, caller.rate)
            caller.narrow_role(_read_role(role))
        except IkomaError as error:
            self.record_refused(what, error, None, address)
            raise
        return caller

    def refuse_unproven(self, what: str, error: IkomaError, address: str) -> IkomaError:
        """Count at its address, and put on record, what a door refused for want of a proof; what to answer."""
        try:
            self._throttle.check(address, None)
            self._throttle.count_failure(address)
        except TooManyFailures as too_many:
            error = too_many
        self.record_refused(what, error, None, address)
        return error

    def record_refused(self, what: str, error: IkomaError, caller: str | None, address: str = LOCAL) -> None:
        """Put on record what a door refused by itself, before there was a call."""
        entry = AuditEntry(f"{random.getrandbits(96):024x}", what, caller=caller, result=ERROR)
        entry.error, entry.code = error.audit_message, error.code
        self._record_refusal(entry, address)

    def stop(self) -> None:
        """Tell the calls that are answered in a stream that the server stops."""
        self._stopping.set()

    def close(self) -> None:
        """Put on record what was only counted so far."""
        self._refusals.flush()

    def _name_for_log(self, capability: str) -> str:
        """The name of what was asked for, as the log has it: what only looks like one of ours is marked."""
        return (
            capability
            if capability in self.registry
            else f"[unknown] {withhold_if_long(capability, LONGEST_NAME, 'name')}"
        )

    async def _admit(self, attempt: Attempt, caller: Caller, role: Role, entry: AuditEntry) -> _Admitted:
        capability = self.registry.get(attempt.capability)
        self._authorise(caller, role, capability)
        sent = await attempt.read_arguments(capability.body_limit)
        _check_writable(sent)
        entry.arguments = self._scrubber.scrub_value(mask_arguments(capability, sent), None, caller.apps)
        given = controls.split(capability, sent, attempt.idempotency_key)
        request = capability.parse(given.arguments)
        if isinstance(request, AppRequest):
            caller.check_app(request.app_name)
        return _Admitted(attempt, caller, role, capability, given, request)

    async def _authenticate(self, attempt: Attempt, entry: AuditEntry) -> tuple[Caller, Role]:
        caller = attempt.caller or await self.identify_key(attempt.key, attempt.address)
        entry.caller, entry.key = caller.name, caller.id
        self._rate_limit.count(caller.id, caller.rate)
        role = caller.narrow_role(_read_role(attempt.role))
        entry.role = str(role)
        return caller, role

    def _authorise(self, caller: Caller, role: Role, capability: Capability) -> None:
        if role < capability.role:
            raise RoleTooLow(f"This needs the role {capability.role}; the call has {role}.")
        caller.check_capability(capability.name, capability.effect)

    def _record(self, admitted: _Admitted, entry: AuditEntry) -> Record:
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

    async def _begin(self, admitted: _Admitted, entry: AuditEntry, began: float, progress: Progress) -> Operation:
        """Begin the operation of a changing call, or find the one that an earlier try has begun."""
        record = self._record(admitted, entry)
        operation = self.operations.find_earlier(record)
        if operation is None:
            await self._consent(admitted, entry, take=False)
            work = partial(self._work, admitted, entry)
            keeps = partial(mask_result, admitted.capability)
            unaudited = admitted.capability.unaudited
            operation = await self.operations.start(record, work, progress, keeps=keeps, unjournalled=unaudited)
            if admitted.capability.queued:
                self.operations.withdraw_others(operation.record)
        if operation.record.id != record.id:  # a retry: the first call has its own entries
            self._settle(entry, began, code="replayed")
        return operation

    async def _consent(self, admitted: _Admitted, entry: AuditEntry, *, take: bool) -> None:
        """Go on only with the consent that this call needs: of another key, or of the person at the door.

        Args:
            take: whether that uses it up: at the last moment, so that a call that finds the app busy costs none.
        """
        caller, capability = admitted.caller, admitted.capability
        if caller.needs_approval and (capability.needs_approval or capability.loses is not None):
            await self._approve(admitted, entry, take)
        elif capability.loses is not None:
            await self._confirm(admitted, take)

    async def _approve(self, admitted: _Admitted, entry: AuditEntry, take: bool) -> None:
        """Go on with the consent of another key, or where this call needs none after all."""
        caller, capability = admitted.caller, admitted.capability
        if await self._approvals.change(
            partial(
                self._approvals.allows,
                caller,
                capability.name,
                admitted.digest,
                has_ended=self.callers.has_ended,
                take=take,
            )
        ):
            return
        loss = await self._find_loss(admitted)
        if loss is None and not capability.needs_approval:
            return
        summary = f"Call {capability.name}." if loss is None else _join_loss(loss)
        raise await self._approvals.change(
            partial(
                self._approvals.ask,
                caller,
                capability.name,
                admitted.digest,
                app=admitted.app,
                arguments=entry.arguments,
                summary=self._scrubber.scrub_own(summary, admitted.app, caller.apps),
            )
        )

    async def _confirm(self, admitted: _Admitted, take: bool) -> None:
        """Where the door puts what is lost for good before a person: go on only with that person's word."""
        capability, caller, token = admitted.capability, admitted.caller.id, admitted.given.confirmation
        if token == controls.DECLINED:
            raise Declined
        if token is not None:
            self._confirmations.check(token, caller, capability.name, admitted.digest, take=take)
        elif admitted.attempt.asks and (loss := await self._find_loss(admitted)) is not None:
            raise self._confirmations.ask(caller, capability.name, admitted.digest, loss)

    async def _find_loss(self, admitted: _Admitted) -> Loss | None:
        """The things that this call would lose for good."""
        loses = admitted.capability.loses
        if loses is None:
            return None
        try:
            return await loses(self._call(admitted, ignore_progress), admitted.request)
        except IkomaError as error:
            error.withhold_guess()
            raise

    async def _work(
        self, admitted: _Admitted, entry: AuditEntry, began: Callable[[], None], progress: Progress
    ) -> bytes:
        """A changing call's own work, in its operation."""
        since, severity = time.perf_counter(), Severity.WARNING
        try:
            async with self._lock(admitted, progress):
                # Its intent is on the disk before the call acts, or the call is refused.
                entry.result = STARTED
                await self._intend(entry, admitted.capability)
                await self._consent(admitted, entry, take=True)
                began()
                severity = Severity.ERROR
                answer = await self._run(admitted, progress)
        except BaseException as error:
            failure = self._record_failure(entry, since, error, admitted.caller, admitted)
            self._tell(admitted, EventKind.FAILED, severity, entry.error or "")
            raise failure from _find_cause(failure, error)
        self._settle(entry, since)
        self._tell(admitted, EventKind.SUCCEEDED, Severity.INFO)
        return answer

    def _tell(self, admitted: _Admitted, kind: EventKind, severity: Severity, message: str = "") -> None:
        """Tell all who follow events how an operation has ended."""
        operation, capability = admitted.attempt.request_id, admitted.capability.name
        self.events.publish(Event(kind, severity, admitted.app, operation, capability, message))

    async def _intend(self, entry: AuditEntry, capability: Capability) -> None:
        """Put on the disk what is about to be done."""
        try:
            await self._audit.append_durably(entry)
        except AuditUnavailable as error:
            if not capability.unaudited:
                raise
            log.error("%s %s goes on without its audit entry: %s", entry.capability, entry.request_id, error.message)

    async def _run(self, admitted: _Admitted, progress: Progress, emit: Emit | None = None) -> bytes:
        capability, app, scrubber, reach = admitted.capability, admitted.app, self._scrubber, admitted.caller.apps

        reader = admitted.reader

        def tell(message: str, fraction: float | None = None) -> None:
            progress(self._telling.fit_text(scrubber.scrub_own(message, app, reach), reader), fraction)

        async def say(line: str) -> None:
            assert emit is not None
            await emit(scrubber.scrub_text(line, app, reach))

        call = self._call(admitted, tell, None if emit is None else say)
        try:
            answer = capability.encode(await capability.run(call, admitted.request))
            scrubbed = _show_secrets(
                capability, answer, scrubber.scrub_json(answer, app, reach, quoting=_find_quoting(capability))
            )
            return self._telling.tell_result(capability, scrubbed, reader)
        except IkomaError as error:
            if not capability.guesses:
                error.withhold_guess()
            scrubber.scrub_error(error, app, reach)
            raise

    def _call(self, admitted: _Admitted, progress: Progress, emit: Emit | None = None) -> Any:
        identity = admitted.attempt.request_id
        told = (admitted.reader.sees_paths, admitted.attempt.lists, self._stopping)
        return self._make_call(CallContext(admitted.caller, admitted.role, identity, progress, emit, *told))

    def _lock(self, admitted: _Admitted, progress: Progress) -> AbstractAsyncContextManager[None]:
        capability, request, own = admitted.capability, admitted.request, admitted.caller.own
        if capability.exclusive and isinstance(request, AppRequest):
            # What IKOMA had reason to do by itself, it has not after another call: then it looks again.
            patience = math.inf if capability.queued else 0.0 if own else PATIENCE
            holder = Holder(capability.name, admitted.attempt.request_id, own)
            return self._locks.hold(request.locked, holder, patience=patience, progress=progress)
        return nullcontext()

    async def _await_outcome(self, operation: Operation, admitted: _Admitted) -> CallAnswer:
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

    def _describe_going_on(self, record: Record, admitted: _Admitted) -> bytes:
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

    def _end(self, entry: AuditEntry, began: float, result: str = SUCCESS, code: str | None = None) -> None:
        entry.result, entry.code = result, code
        entry.duration = (time.perf_counter() - began) * 1000

    def _settle(self, entry: AuditEntry, began: float, result: str = SUCCESS, code: str | None = None) -> None:
        """Write a call's last entry."""
        self._end(entry, began, result, code)
        self._audit.append_if_possible(entry)

    def _record_refusal(self, entry: AuditEntry, address: str) -> None:
        if entry.caller is None:
            self._refusals.add(entry, address)
        else:
            self._audit.append_if_possible(entry)

    def _record_failure(
        self,
        entry: AuditEntry,
        began: float,
        error: BaseException,
        caller: Caller | None,
        admitted: _Admitted | None,
        address: str = LOCAL,
    ) -> BaseException:
        """Write the last entry of a call that failed; what is raised then, an IkomaError unless it was cancelled."""
        answer = _translate_failure(error, entry)
        if isinstance(answer, IkomaError):
            self._scrubber.scrub_error(answer, None, () if caller is None else caller.apps)
            entry.error = answer.audit_message
            if admitted is not None:
                answer.next = self._telling.leading.complete(answer.next, admitted.capability, admitted.given.arguments)
        self._end(entry, began, ERROR, entry.code)
        self._record_refusal(entry, address)
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


def _find_quoting(capability: Capability) -> list[tuple[str, ...]]:
    """Where in an answer stands what others alone wrote."""
    return [path for path, mark in capability.untrusted if not mark.ours]


def _show_secrets(capability: Capability, answer: bytes, scrubbed: bytes) -> bytes:
    """A scrubbed answer with what it is made to show: a secret that was made a moment ago is known as one already."""
    if scrubbed is answer or not capability.secret_results:
        return scrubbed
    shown = orjson.loads(answer)
    return orjson.dumps(
        orjson.loads(scrubbed) | {name: shown[name] for name in capability.secret_results & shown.keys()}
    )


def _check_writable(sent: Mapping[str, Any]) -> None:
    """Refuse text that cannot be written down, such as half of a surrogate pair, which some parsers take."""
    try:
        orjson.dumps(sent)
    except TypeError as error:
        raise MalformedRequest(_UNWRITABLE.get(str(error), "The arguments hold text that is not Unicode.")) from None


_UNWRITABLE = {
    "Recursion limit reached": "The arguments are nested too deeply.",
    "Integer exceeds 64-bit range": "The arguments hold a whole number of more than 64 bits.",
}


def _read_role(text: str | None) -> Role | None:
    if text is None or text == "":
        return None
    try:
        return Role.parse(text)
    except ValueError as error:
        raise UnknownRole(f"X-Role: {error}.") from None


def _make_reader(caller: Caller | None, role: Role, attempt: Attempt, admitted: _Admitted | None) -> Reader | None:
    if admitted is not None:
        return admitted.reader
    return None if caller is None else Reader(caller, role, sees_paths=_sees_paths(role, attempt), lists=attempt.lists)


def _sees_paths(role: Role, attempt: Attempt) -> bool:
    """Whether a caller can use paths on the server: it is there itself, or may do everything anyway."""
    return role is Role.ADMIN or attempt.address == LOCAL


def _find_cause(raised: BaseException, error: BaseException) -> BaseException | None:
    return error.__cause__ if raised is error else error


def _join_loss(loss: Loss) -> str:
    """A loss as one sentence, for whoever decides on it later."""
    return f"{loss.summary.removesuffix('.')}: {'; '.join(loss.lost)}" if loss.lost else loss.summary


def _translate_failure(error: BaseException, entry: AuditEntry) -> BaseException:
    """The failure as its caller sees it; the audit entry is filled to match."""
    if isinstance(error, IkomaError):
        entry.error, entry.code = error.audit_message, error.code
        return error
    if isinstance(error, asyncio.CancelledError):
        entry.error, entry.code = "The call was cancelled before it ended.", OperationCancelled.code
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = DiskFull()
        entry.error, entry.code = full.message, full.code
        return full
    log.error("request %s: %s failed", entry.request_id, entry.capability, exc_info=error)
    answer = IkomaError()
    entry.error, entry.code = answer.message, answer.code
    return answer
