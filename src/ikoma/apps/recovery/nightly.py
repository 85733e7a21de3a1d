"""Backs every app and the server itself up each night, so that a new server can be made of it.

Each backup is a call like any other, under the caller of a schedule. A night is claimed by writing its row, so that of
several servers on one state one does it; what was missed while the server was away is made up for once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ikoma.apps.app import Apps, log_failures
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.names import SERVER, AppBackupName
from ikoma.apps.schedules.runs import Outcome, ScheduleRun, ScheduleRuns
from ikoma.apps.schedules.timetable import compute_delay, find_last
from ikoma.errors import IkomaError
from ikoma.model import AppName
from ikoma.moments import format_moment

log = logging.getLogger("ikoma")

NAME = "recovery"
_CRON, _JITTER = "0 4 * * *", 3600
_LOOK_SECONDS = 60.0
_KEPT = 3
"""So many of the backups that were made by night are kept here of each app, and of the server."""

Perform = Callable[[AppName, ScheduleRun], Awaitable[Mapping[str, Any]]]
"""Makes the backup of an app or the server, as the operation of the run; the result of backup.create."""


class NightlyBackups:
    """Makes the backups of each night until it is cancelled."""

    def __init__(self, apps: Apps, backups: AppBackups, runs: ScheduleRuns, perform: Perform) -> None:
        self._apps = apps
        self._backups = backups
        self._runs = runs
        self._perform = perform
        self._since = datetime.now(UTC)

    async def run(self) -> None:
        while True:
            due = find_last(_CRON, "UTC", datetime.now(UTC) - compute_delay(SERVER, NAME, _JITTER))
            if due is not None and self._is_due(due):
                await self.make_all(due)
            await asyncio.sleep(_LOOK_SECONDS)

    async def make_all(self, due: datetime) -> None:
        """Back up every app, and last the server, whose backup names the apps. A failure is told by its own call."""
        names = [name for name in await asyncio.to_thread(self._apps.list_names) if name.previewed is None]
        for name in (*names, SERVER):
            with log_failures(name):
                await self._make(name, due)

    def _is_due(self, due: datetime) -> bool:
        """Whether a night was not done yet. The first one of a server is the next that comes."""
        if not self._runs.has_begun(SERVER, NAME):
            self._since = min(self._since, datetime.now(UTC))  # the clock may have been set back
            return due > self._since
        return not self._runs.is_claimed(SERVER, NAME, due)

    async def _make(self, name: AppName, due: datetime) -> None:
        run = ScheduleRun(
            app=name,
            schedule=NAME,
            due=format_moment(due),
            operation=secrets.token_hex(12),
            began_at=format_moment(datetime.now(UTC), "milliseconds"),
        )
        if not await self._runs.claim(run):
            return
        try:
            result = await self._perform(name, run)
        except IkomaError as error:
            await self._runs.end(run, Outcome.FAILED, error.message)
            log.warning("%s: its nightly backup failed: %s", name, error.message)
            return
        made = str(result["backups"][0]["name"])
        await self._runs.end(run, Outcome.SUCCEEDED, str(result["message"]), made)
        await self._remove_expired(name)

    async def _remove_expired(self, name: AppName) -> None:
        """Remove what nights have made, but for the last few and the last proven one. Those of people are theirs."""
        own = set(self._runs.list_backups(name))
        made = [item for item in await asyncio.to_thread(self._backups.list_of, name) if item.name in own]
        proven = [item for item in made if item.proven_at]
        for item in made[_KEPT:]:
            if item not in proven[:1]:
                await asyncio.to_thread(self._backups.remove, AppBackupName(item.name))
                await self._runs.note_let_go(name, item.name)
