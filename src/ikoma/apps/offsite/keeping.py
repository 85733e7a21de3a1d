"""Sees to it that proven backups leave this machine, and that copies are let go of when they were kept long enough.

A backup that a call makes is sent at once; the call waits for a while only, since a line may be slow and the app must
not be held. What has not left, for whatever reason, is tried again with each look at the place: nothing here ever
touches a backup on this machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ikoma.apps.app import Apps, log_failures
from ikoma.apps.backups.folder import AppBackup, AppBackups
from ikoma.apps.backups.names import SERVER
from ikoma.apps.database.backups import BackupManifest, Backups
from ikoma.apps.offsite.copy import OffsiteCopy
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.schedules.kept_backups import KeptBackup, choose_superfluous
from ikoma.apps.schedules.runs import ScheduleRuns
from ikoma.apps.schedules.schedule import BACKUP, Schedule, make_nightly, read_schedules
from ikoma.errors import IkomaError
from ikoma.kernel.events import Event, EventKind, Severity
from ikoma.model import DUMP_ENDINGS, AppName
from ikoma.moments import format_moment
from ikoma.ports.progress import Progress, ignore_progress

log = logging.getLogger("ikoma")

_LOOK_SECONDS, _AGAIN_SECONDS, _SOON_SECONDS = 3600.0, 300.0, 60.0
_PATIENCE = 30.0
_BEHIND = timedelta(days=1)
_KINDS = (DUMP_ENDINGS, (".backup",))


@dataclass(frozen=True, slots=True)
class Departure:
    """The way of a backup off this machine, as far as it has got."""

    verified_at: str | None
    """The time at which it was read back there; None: not yet."""
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class LocalBackup:
    """A backup on this machine, of either kind: its files by the names that they get in the copy."""

    app: AppName
    name: str
    created_at: str
    proven_at: str | None
    files: Mapping[str, Path]


class OffsiteKeeper:
    """Sends what is missing off this machine until it is cancelled."""

    def __init__(
        self,
        offsite: Offsite,
        apps: Apps,
        backups: Backups,
        app_backups: AppBackups,
        runs: ScheduleRuns,
        publish: Callable[[Event], None],
    ) -> None:
        self._offsite = offsite
        self._apps = apps
        self._backups = backups
        self._app_backups = app_backups
        self._runs = runs
        self._publish = publish
        self._turn = asyncio.Lock()
        self._leaving: dict[str, asyncio.Task[OffsiteCopy]] = {}
        self._has_failed = asyncio.Event()
        """Whether a backup that a call has made failed to leave since the last look."""

    async def run(self) -> None:
        """Look at the place, send what is missing there, and let go of what was kept long enough; again and again."""
        if not self._offsite.is_on:
            return
        try:
            while True:
                self._has_failed.clear()
                well = await self._go_round()
                await self._wait_for_next(_LOOK_SECONDS if well else _AGAIN_SECONDS)
        finally:
            for task in self._leaving.values():
                task.cancel()

    async def _wait_for_next(self, seconds: float) -> None:
        """Wait for so long; for a minute only from when a backup failed to leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_failed.wait()
                await asyncio.sleep(_SOON_SECONDS)

    async def leave(self, backup: LocalBackup, progress: Progress, *, scheduled: bool) -> Departure | None:
        """Send a backup that was just made, and wait for a while; None where no place is set up.

        A place that fails is a warning here, and an event; the backup itself is whole.
        """
        if not self._offsite.is_on:
            return None
        waiting = True

        def tell(message: str, fraction: float | None = None) -> None:
            if waiting:
                progress(message, fraction)

        task = self._start(backup, tell, scheduled=scheduled)
        task.add_done_callback(self._note_failed)
        await asyncio.wait({task}, timeout=_PATIENCE)
        waiting = False
        if not task.done():
            return Departure(None, "It is on its way off this machine; backup.list shows when it has arrived.")
        try:
            return Departure(task.result().sent_at)
        except IkomaError as error:
            return Departure(None, f"It has not left this machine: {error.message} It is tried again by itself.")

    async def _go_round(self) -> bool:
        """Whether all went well."""
        was_failing = self._offsite.read_known().failing_since is not None
        try:
            await self._offsite.look()
        except IkomaError as error:
            log.warning("copies off this machine: %s", error.message)
            if not was_failing:
                self._tell(None, error)
            return False
        well = True
        for name in (*self._apps.list_names(), SERVER):
            with log_failures(name):
                well = await self._send_missing(name) and well
                await self._delete_expired(name)
        return well

    async def _send_missing(self, app: AppName) -> bool:
        for backup in await asyncio.to_thread(self._choose_missing, app):
            scheduled = backup.name in self._runs.list_backups(app)
            try:
                await self._start(backup, ignore_progress, scheduled=scheduled)
            except IkomaError as error:
                log.warning("%s: %s has not left this machine: %s", app, backup.name, error.message)
                return False
        return True

    def _choose_missing(self, app: AppName) -> list[LocalBackup]:
        """The proven backups that have no copy, newest first, without those that would be let go of at once."""
        known = self._offsite.read_known().list_of(app)
        there = {copy.name for copy in known}
        by_schedule = set(self._runs.list_backups(app))
        missing = [item for item in self.list_local(app) if item.proven_at and item.name not in there]
        superfluous: set[str] = set()
        for kind in _KINDS:
            of_kind = [item for item in missing if item.name.endswith(kind)]
            copies = [copy for copy in known if copy.name.endswith(kind)]
            made: list[KeptBackup] = [item for item in of_kind if item.name in by_schedule]
            made += [copy for copy in copies if copy.scheduled]
            superfluous |= choose_superfluous(made, [*of_kind, *copies], _read_rule(self._apps, app))
        found = [item for item in missing if item.name not in superfluous]
        return sorted(found, key=lambda item: item.created_at, reverse=True)

    async def _delete_expired(self, app: AppName) -> None:
        """Delete the copies of schedules that were kept long enough, and that the store lets go of."""
        known = self._offsite.read_known().list_of(app)
        for kind in _KINDS:
            copies = [copy for copy in known if copy.name.endswith(kind)]
            made = [copy for copy in copies if copy.scheduled]
            superfluous = choose_superfluous(made, copies, _read_rule(self._apps, app))
            for copy in made:
                if copy.name in superfluous and not copy.is_locked:
                    await self._offsite.delete(app, copy.name)

    def _start(self, backup: LocalBackup, progress: Progress, *, scheduled: bool) -> asyncio.Task[OffsiteCopy]:
        """Begin to send a backup, or join what sends it."""
        if (going := self._leaving.get(backup.name)) is not None:
            return going
        task = asyncio.create_task(self._send(backup, progress, scheduled=scheduled), name=f"send {backup.name}")
        self._leaving[backup.name] = task
        task.add_done_callback(lambda done: self._end(backup, done))
        return task

    def _end(self, backup: LocalBackup, task: asyncio.Task[OffsiteCopy]) -> None:
        del self._leaving[backup.name]
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, IkomaError):
                self._offsite.note_failure(error)
                self._tell(backup, error)
            else:
                log.error("%s: %s could not be sent", backup.app, backup.name, exc_info=error)

    def _note_failed(self, task: asyncio.Task[OffsiteCopy]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._has_failed.set()

    async def _send(self, backup: LocalBackup, progress: Progress, *, scheduled: bool) -> OffsiteCopy:
        async with self._turn:
            return await self._offsite.send(
                backup.app,
                backup.name,
                backup.created_at,
                backup.files,
                proven_at=backup.proven_at,
                scheduled=scheduled,
                progress=progress,
            )

    def _tell(self, backup: LocalBackup | None, error: IkomaError) -> None:
        what = f"{backup.name} has not left this machine" if backup else "The place of off-site backups fails"
        app = backup.app if backup else None
        self._publish(Event(EventKind.OFFSITE, Severity.WARNING, app, message=f"{what}: {error.message}"))

    def list_behind(self) -> list[str]:
        """The apps whose newest copy is older than a proven backup which has been here for a day."""
        now = datetime.now(UTC)
        latest, soon = format_moment(now - _BEHIND), format_moment(now + _BEHIND)
        known = self._offsite.read_known()
        found = []
        for app in (*self._apps.list_names(), SERVER):
            due = [item.created_at for item in self.list_local(app) if item.proven_at and item.created_at < latest]
            # A copy of a time to come was made while the clock was ahead: it says nothing of those since.
            sent = [copy.created_at for copy in known.list_of(app) if copy.created_at < soon]
            if due and max(sent, default="") < max(due):
                found.append(str(app))
        return found

    def list_local(self, app: AppName) -> list[LocalBackup]:
        """List the app's backups on this machine, of both kinds."""
        dumps = [describe_dump_files(self._backups, item) for item in self._backups.list_of(app)]
        return [*dumps, *(describe_backup_files(self._app_backups, item) for item in self._app_backups.list_of(app))]


def describe_dump_files(backups: Backups, manifest: BackupManifest) -> LocalBackup:
    """The dump and its manifest."""
    files = {name: backups.root / name for name in (manifest.name, f"{manifest.name}.json")}
    return LocalBackup(AppName(manifest.app), manifest.name, manifest.created_at, manifest.proven_at, files)


def describe_backup_files(backups: AppBackups, backup: AppBackup) -> LocalBackup:
    """The files of a whole app's backup."""
    files = {name: backups.root / backup.name / name for name in ("manifest.json", *backup.files)}
    return LocalBackup(AppName(backup.app), backup.name, backup.created_at, backup.proven_at, files)


def _read_rule(apps: Apps, app: AppName) -> Schedule:
    """Find how many days, weeks and months keep a copy: the most of each that a schedule of the app's backups says."""
    rules = [item for item in read_schedules(apps.locate(app)) if item.capability == BACKUP] or [make_nightly()]
    return replace(
        rules[0],
        keep_days=max(rule.keep_days for rule in rules),
        keep_weeks=max(rule.keep_weeks for rule in rules),
        keep_months=max(rule.keep_months for rule in rules),
    )
