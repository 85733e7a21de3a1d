"""The runs of schedules, in state.db. A run is claimed by writing its row, so that of several servers one has it.

A run that its server did not live to end is told as cut off, and not begun again: a command that was half done once
must not be done one and a half times.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ikoma.kernel.operations.journal import RUNNING, Journal
from ikoma.kernel.state.store import FLAG, Codec, Store, StoreTable
from ikoma.moments import format_moment

_KEPT = 200


class Outcome(StrEnum):
    """The outcome of a run."""

    ASKED = "asked"
    """Somebody wants it now; no server has begun it yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """The former run was still going on."""
    MISSED = "missed"
    """The server was away, and it is not to be made up for."""
    CUT_OFF = "cut off"
    """The server was stopped or killed before it was done."""


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One time at which a schedule was due. Moments are RFC 3339 in UTC."""

    app: str
    schedule: str
    due: str
    operation: str
    began_at: str
    ended_at: str | None = None
    outcome: Outcome = Outcome.RUNNING
    message: str | None = None
    backup: str | None = None
    """The backup that it made, until that is let go of."""
    late: bool = False
    """Whether it was made up for after the server had been away."""


class ScheduleRuns:
    """All runs of all schedules."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._table = StoreTable(store, "schedule_runs", ScheduleRun, {"outcome": Codec(str, Outcome), "late": FLAG})
        self.asked = asyncio.Event()
        """Set when a run was asked for in this process."""

    async def ask(self, app: str, schedule: str) -> str:
        """Ask for a run now, by whichever server looks first; the id of its operation."""
        operation = secrets.token_hex(12)
        now = format_moment(datetime.now(UTC), "milliseconds")
        run = ScheduleRun(app=app, schedule=schedule, due=now, operation=operation, began_at=now, outcome=Outcome.ASKED)
        await self._store.change(lambda: self._table.insert(run))
        self.asked.set()
        return operation

    async def take_asked(self) -> list[ScheduleRun]:
        """Claim the runs that were asked for."""
        self.asked.clear()
        if not self._select("outcome = ?", Outcome.ASKED):
            return []

        def take() -> list[ScheduleRun]:
            found = self._select("outcome = ?", Outcome.ASKED)
            self._store.execute(
                "UPDATE schedule_runs SET outcome = ? WHERE outcome = ?", (Outcome.RUNNING, Outcome.ASKED)
            )
            return found

        return await self._store.change(take)

    async def claim(self, run: ScheduleRun) -> bool:
        """Claim a run; False where another server has it."""

        def insert() -> bool:
            if self._select("app = ? AND schedule = ? AND due = ?", run.app, run.schedule, run.due):
                return False
            self._table.insert(run)
            self._forget_old(run)
            return True

        return await self._store.change(insert)

    async def end(self, run: ScheduleRun, outcome: Outcome, message: str | None, backup: str | None = None) -> None:
        """Write down how a run went."""
        values = (outcome, message, backup, format_moment(datetime.now(UTC), "milliseconds"), run.operation)
        sql = "UPDATE schedule_runs SET outcome = ?, message = ?, backup = ?, ended_at = ? WHERE operation = ?"
        await self._store.change(lambda: self._store.execute(sql, values))

    async def note_let_go(self, app: str, backup: str) -> None:
        """Note that a backup is not kept any more."""
        sql = "UPDATE schedule_runs SET backup = NULL WHERE app = ? AND backup = ?"
        await self._store.change(lambda: self._store.execute(sql, (app, backup)))

    async def settle(self, beginning: timedelta, here: Collection[str] = ()) -> None:
        """Tell of runs whose server is gone that they were cut off.

        Args:
            beginning: those that began so recently are left alone: their operation may not have begun yet.
            here: operations that this process works on.
        """
        now = datetime.now(UTC)
        recent = [format_moment(now + by, "milliseconds") for by in (-beginning, beginning)]
        sql = "outcome = ? AND (began_at <= ? OR began_at > ?)"  # the clock may have been set back since
        for run in self._select(sql, Outcome.RUNNING, *recent):
            if run.operation not in here and not self.is_going_on(run):
                await self.end(run, Outcome.CUT_OFF, "The server was stopped or killed before it was done.")

    def is_going_on(self, run: ScheduleRun) -> bool:
        record = self._journal.find(run.operation)
        return record is not None and record.state == RUNNING

    def has_begun(self, app: str, schedule: str) -> bool:
        """Whether a schedule ever had a run."""
        return bool(self.list_of(app, schedule, 1))

    def is_claimed(self, app: str, schedule: str, due: datetime) -> bool:
        """Whether the run of that time was claimed, however it went. A clock that was set back brings times again."""
        return bool(self._select("app = ? AND schedule = ? AND due = ?", app, schedule, format_moment(due)))

    def find_going_on(self, app: str, schedule: str) -> ScheduleRun | None:
        """Find the run of a schedule that a server works on just now."""
        running = self._select("app = ? AND schedule = ? AND outcome = ?", app, schedule, Outcome.RUNNING)
        return next(filter(self.is_going_on, running), None)

    def list_of(self, app: str, schedule: str, limit: int) -> list[ScheduleRun]:
        """List the runs of a schedule, the last that was claimed first: whatever the clock said then."""
        return self._select("app = ? AND schedule = ? ORDER BY rowid DESC LIMIT ?", app, schedule, limit)

    def list_backups(self, app: str) -> list[str]:
        """List the backups that schedules of this app made and that were not let go of."""
        return [run.backup for run in self._select("app = ? AND backup IS NOT NULL", app) if run.backup]

    def _select(self, where: str, *values: str | int) -> list[ScheduleRun]:
        return self._table.select(where, values)

    def _forget_old(self, run: ScheduleRun) -> None:
        """Let go of all but the last runs of a schedule; not of those whose backup is kept."""
        self._store.execute(
            "DELETE FROM schedule_runs WHERE app = ? AND schedule = ? AND backup IS NULL AND rowid NOT IN"
            " (SELECT rowid FROM schedule_runs WHERE app = ? AND schedule = ? ORDER BY rowid DESC LIMIT ?)",
            (run.app, run.schedule, run.app, run.schedule, _KEPT),
        )
