"""The path that every call walks, whatever the door: nothing goes round it.

authenticate → authorise → validate → lock → journal → run → audit. A call that fails on the way leaves one audit
entry that says why; a changing call leaves two, its intent before it acts and its result after.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from ikoma.errors import DiskFull, IkomaError, RoleTooLow, ShuttingDown, UnknownRole
from ikoma.kernel.audit import ERROR, STARTED, SUCCESS, AuditLog, Entry
from ikoma.kernel.call import Attempt, Identified
from ikoma.kernel.callers import Caller, Callers
from ikoma.kernel.locks import Locks
from ikoma.kernel.masking import mask_arguments
from ikoma.kernel.ratelimit import RateLimit
from ikoma.kernel.registry import AppRequest, Capability, Registry, Request
from ikoma.model import Effect, Role
from ikoma.ports import Progress, no_progress

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
        make_call: Callable[[Identified], Any],
    ) -> None:
        self.registry = registry
        self.callers = callers
        self._rate_limit = rate_limit
        self._audit = audit
        self._locks = locks
        self._make_call = make_call

    async def execute(self, attempt: Attempt, progress: Progress = no_progress) -> bytes:
        """Do what was asked and return the result as JSON; every refusal and failure is an IkomaError."""
        began = time.perf_counter()
        entry = Entry(attempt.request_id, attempt.capability[:100])
        try:
            caller, role = self._authenticate(attempt, entry)
            capability = self.registry.get(attempt.capability)
            self._authorise(caller, role, capability)
            request = await self._read(attempt, capability, entry)
            self._check_scope(caller, request)
            async with self._lock(capability, request, attempt):
                await self._journal(capability, entry)
                call = self._make_call(Identified(caller, role, attempt.request_id, progress))
                answer = capability.encode(await capability.run(call, request))
        except BaseException as error:
            raised = _as_answer(error, entry)
            self._close(entry, began)
            if raised is error:
                raise
            raise raised from error
        entry.result = SUCCESS
        self._close(entry, began)
        return answer

    def _authenticate(self, attempt: Attempt, entry: Entry) -> tuple[Caller, Role]:
        caller = self.callers.authenticate(attempt.key)
        entry.caller = caller.name
        self._rate_limit.count(caller.id)
        role = caller.at_role(_wanted_role(attempt.role))
        entry.role = str(role)
        return caller, role

    def _authorise(self, caller: Caller, role: Role, capability: Capability) -> None:
        if role < capability.role:
            raise RoleTooLow(f"{capability.name} needs the role {capability.role}; this call has {role}.")
        caller.check_capability(capability.name, capability.effect)

    async def _read(self, attempt: Attempt, capability: Capability, entry: Entry) -> Request:
        arguments = await attempt.read_arguments(capability.body_limit)
        entry.arguments = mask_arguments(capability, arguments)
        return capability.parse(arguments)

    def _check_scope(self, caller: Caller, request: Request) -> None:
        if isinstance(request, AppRequest):
            caller.check_app(request.app_name)

    def _lock(self, capability: Capability, request: Request, attempt: Attempt) -> AbstractAsyncContextManager[None]:
        if capability.exclusive and isinstance(request, AppRequest):
            return self._locks.hold(request.app_name, capability=capability.name, request_id=attempt.request_id)
        return nullcontext()

    async def _journal(self, capability: Capability, entry: Entry) -> None:
        """The intent of a changing call is on the disk before the call acts, or the call is refused."""
        if capability.effect is not Effect.READS:
            entry.result = STARTED
            await self._audit.append_durably(entry)

    def _close(self, entry: Entry, began: float) -> None:
        entry.duration = (time.perf_counter() - began) * 1000
        self._audit.append_if_possible(entry)


def _wanted_role(text: str | None) -> Role | None:
    if text is None or text == "":
        return None
    try:
        return Role.parse(text)
    except ValueError as error:
        raise UnknownRole(f"X-Role: {error}.") from None


def _as_answer(error: BaseException, entry: Entry) -> BaseException:
    """What the caller sees of a failure; the audit entry is filled to match."""
    entry.result = ERROR
    if isinstance(error, IkomaError):
        entry.error, entry.code = error.audit_message, error.code
        return error
    if isinstance(error, asyncio.CancelledError):
        entry.error, entry.code = "The call was cancelled before it ended.", ShuttingDown.code
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = DiskFull()
        entry.error, entry.code = full.message, full.code
        return full
    log.error("request %s: %s failed", entry.request_id, entry.capability, exc_info=error)
    answer = IkomaError()
    entry.error, entry.code = answer.message, answer.code
    return answer
