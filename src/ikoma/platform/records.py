"""The server's own records: the audit log, and what is kept in state.db."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.schedules.runs import ScheduleRuns
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.audit.anchors import Anchors, Place, append_to_file, post_to_webhook, send_to_syslog
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.events import Event, EventKind, Events, Severity
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.state.store import Store
from ikoma.settings import Settings

_GRACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Records:
    """The records, open."""

    audit: AuditLog
    anchors: Anchors
    store: Store
    callers: Callers
    approvals: Approvals
    journal: Journal
    events: Events
    operations: Operations
    schedule_runs: ScheduleRuns
    waivers: Waivers


async def open_records(stack: AsyncExitStack, settings: Settings) -> Records:
    """Open them, and tell of operations that a killed server left; all of it is closed with the stack."""
    audit = AuditLog(
        settings.audit_log,
        settings.audit_head_file,
        max_bytes=settings.audit_max_mb << 20,
        keep=settings.audit_keep_files,
    )
    stack.callback(audit.close)
    anchors = Anchors(audit, _list_anchor_places(settings), settings.audit_anchor_seconds)
    stack.push_async_callback(anchors.anchor_last)
    store = await asyncio.to_thread(Store, settings.database_file)  # it waits where another process migrates it
    stack.callback(store.close)
    journal, events = Journal(store), Events(store)
    for record in await journal.change(journal.recover):
        events.publish(_cut_off(record))
    operations = Operations(journal)
    stack.push_async_callback(operations.close, _GRACE_SECONDS)
    callers = Callers(store, settings.env_file, settings.api_key_hash)
    runs = ScheduleRuns(store, journal)
    return Records(audit, anchors, store, callers, Approvals(store), journal, events, operations, runs, Waivers(store))


def _cut_off(record: Record) -> Event:
    """The event of an operation whose server was stopped or killed in the middle."""
    message = "The server was stopped or killed before this was done."
    return Event(EventKind.FAILED, Severity.ERROR, record.app, record.id, record.capability, message)


def _list_anchor_places(settings: Settings) -> list[Place]:
    if settings.rehearsal:
        return []
    places = [append_to_file(path) for path in settings.audit_anchor_files]
    if settings.audit_anchor_url:
        places.append(post_to_webhook(settings.audit_anchor_url))
    if settings.audit_anchor_syslog:
        places.append(send_to_syslog(settings.audit_anchor_syslog))
    return places
