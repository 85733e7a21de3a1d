"""The record of one call: its intent before it acts, its end, and its failure as the log and its caller see it."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from ikoma.durable import is_disk_full
from ikoma.errors import AuditUnavailable, DiskFull, IkomaError, OperationCancelled
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.audit.entry import ERROR, STARTED, SUCCESS, AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.audit.refusals import Refusals
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.kernel.registry import Capability

log = logging.getLogger("ikoma")


class CallRecorder:
    """Writes the entries of calls. Times are seconds of `time.perf_counter`."""

    def __init__(self, audit: AuditLog, scrubber: Scrubber) -> None:
        self._audit = audit
        self._scrubber = scrubber
        self._refusals = Refusals(audit.append_if_possible)

    async def write_intent(self, entry: AuditEntry, capability: Capability) -> None:
        """Put on the disk what is about to be done, or refuse the call."""
        entry.result = STARTED
        try:
            await self._audit.append_durably(entry)
        except AuditUnavailable as error:
            if not capability.unaudited:
                raise
            log.error("%s %s goes on without its audit entry: %s", entry.capability, entry.request_id, error.message)

    def write_end(self, entry: AuditEntry, began: float, code: str | None = None) -> None:
        """Write the last entry of a call that did what was asked."""
        _end(entry, began, SUCCESS, code)
        self._audit.append_if_possible(entry)

    async def write_read(self, entry: AuditEntry, began: float) -> None:
        """Write the only entry of a read that was answered. Reads at the same time share the work around it."""
        _end(entry, began, SUCCESS, None)
        await self._audit.append_with_others(entry)

    def write_failure(
        self, entry: AuditEntry, began: float, error: BaseException, caller: Caller | None, address: str
    ) -> BaseException:
        """Write the last entry of a call that failed; what is raised then, an IkomaError unless it was cancelled."""
        answer = _translate_failure(error, entry)
        if isinstance(answer, IkomaError):
            self._scrubber.scrub_error(answer, None, () if caller is None else caller.apps)
            entry.error = answer.audit_message
        _end(entry, began, ERROR, entry.code)
        self._write_refusal(entry, address)
        return answer

    def write_refused(self, what: str, error: IkomaError, caller: str | None, address: str) -> None:
        """Put on record what a door refused by itself, before there was a call.

        Args:
            what: the name under which the audit log has it.
        """
        entry = AuditEntry(f"{random.getrandbits(96):024x}", what, caller=caller, result=ERROR)
        entry.error, entry.code = error.audit_message, error.code
        self._write_refusal(entry, address)

    def close(self) -> None:
        """Put on record what was only counted so far."""
        self._refusals.flush()

    def _write_refusal(self, entry: AuditEntry, address: str) -> None:
        if entry.caller is None:
            self._refusals.add(entry, address)
        else:
            self._audit.append_if_possible(entry)


def _end(entry: AuditEntry, began: float, result: str, code: str | None) -> None:
    entry.result, entry.code = result, code
    entry.duration = (time.perf_counter() - began) * 1000


def _translate_failure(error: BaseException, entry: AuditEntry) -> BaseException:
    """The failure as its caller sees it; the audit entry is filled to match."""
    if isinstance(error, IkomaError):
        entry.error, entry.code = error.audit_message, error.code
        return error
    if isinstance(error, asyncio.CancelledError):
        entry.error, entry.code = "The call was cancelled before it ended.", OperationCancelled.code
        return error
    if isinstance(error, OSError) and is_disk_full(error):
        full = DiskFull()
        entry.error, entry.code = full.message, full.code
        return full
    log.error("request %s: %s failed", entry.request_id, entry.capability, exc_info=error)
    answer = IkomaError()
    entry.error, entry.code = answer.message, answer.code
    return answer
