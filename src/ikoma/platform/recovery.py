"""Brings apps back on a new server whose state is in its place, one after another, by the call that a person makes.

Each app comes out of its backup into the trash, and from there by apps.restore. That one is audited, can be killed at
any moment and goes on where it was; what is done is written down, and not done again.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps.backups.folder import AppBackup
from ikoma.apps.recovery.beginning import fetch, find_offer, settle_state
from ikoma.apps.recovery.entries import make_entry, name_entry
from ikoma.apps.recovery.record import RecoveryRecord, end_record, write_record
from ikoma.apps.recovery.source import BackupSource, OfferedBackup, require_whole
from ikoma.durable import make_folder, translate_disk_full
from ikoma.errors import AppBusy, BackupDamaged, BackupMissing, DiskFull, IkomaError, TrashEntryMissing
from ikoma.kernel.access.caller import RECOVERY
from ikoma.kernel.call import Attempt
from ikoma.model import AppName
from ikoma.platform.composition import RunningPlatform, run_platform
from ikoma.platform.preparation import prepare
from ikoma.ports.progress import Progress
from ikoma.proxy.caddy import CaddyProxy
from ikoma.proxy.process import USER
from ikoma.settings import Settings, load_settings
from ikoma.users import make_user, use_when_root

_BUSY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ReturnedApp:
    """One app that is back, or why it is not.

    Args:
        backup: the backup that it was made of, and when that was made.
        tables: rows of each table, as they were counted again and compared.
        release: the release that serves again.
        notes: what is not as it was, in sentences.
    """

    app: str
    backup: str | None = None
    made_at: str | None = None
    is_back: bool = False
    tables: Mapping[str, int] = field(default_factory=dict)
    volumes: Sequence[str] = ()
    release: str | None = None
    urls: Sequence[str] = ()
    seconds: float = 0.0
    notes: Sequence[str] = ()


Tell = Callable[[ReturnedApp], None]


async def recover(
    settings: Settings, record: RecoveryRecord, source: BackupSource, progress: Progress, tell: Tell
) -> bool:
    """Go on with a recovery that has begun; whether every app is back.

    PostgreSQL goes on serving the apps: the process must end at once.

    Args:
        tell: told of each app, also of those that an earlier run has brought back.
    """
    progress("put the server's state in its place")
    make_folder(settings.ikoma_state / "proxy", 0o711)
    proxy = CaddyProxy(settings)
    await proxy.stop()  # one of the new server may run still, with certificates of its own
    await proxy.close()
    record = await asyncio.to_thread(settle_state, settings, record)
    settings = load_settings()  # those of the server that was
    await _give_certificates(settings.ikoma_state / "proxy" / "data")
    prepare(settings)
    async with run_platform(settings) as running:
        offers: Sequence[OfferedBackup] | IkomaError
        try:
            offers = await asyncio.to_thread(source.list_backups)
        except IkomaError as error:  # what was fetched already is here
            offers = error
        told = []
        for app in record.backups:
            if app in record.done:
                result = ReturnedApp(**record.done[app])
            else:
                result = await _AppRecovery(settings, record, source, offers, running, progress).recover(app)
            if result.is_back:
                record = replace(record, done={**record.done, app: asdict(result)})
                write_record(settings.ikoma_state, record)
            tell(result)
            told.append(result)
        is_whole = all(item.is_back for item in told)
        if is_whole:
            end_record(settings.ikoma_state)
        running.server.hand_over()
    return is_whole


@dataclass(frozen=True, slots=True)
class _AppRecovery:
    settings: Settings
    record: RecoveryRecord
    source: BackupSource
    offers: Sequence[OfferedBackup] | IkomaError
    """The backups that the place has, or the failure to list them."""
    running: RunningPlatform
    progress: Progress

    async def recover(self, name: str) -> ReturnedApp:
        """Bring one app back; a failure is told, and the other apps come back all the same."""
        began, notes = time.monotonic(), list[str]()
        app = AppName(name)
        try:
            with translate_disk_full():
                backup, place = await self._fetch_first(app, notes)
                entry = await self._make_entry(app, backup, place)
                result = await self._restore(app, entry)
        except IkomaError as error:
            if isinstance(error, DiskFull):
                error.add(error.hint)
            return ReturnedApp(name, notes=(*notes, error.message), seconds=round(time.monotonic() - began, 1))
        details = result["details"]
        if details["release"] is None and (why := _tell_why_down(result["message"], backup)):
            notes.append(why)
        return ReturnedApp(
            name,
            backup=backup.name,
            made_at=backup.created_at,
            is_back=True,
            tables=dict(details["tables"]),
            volumes=tuple(details["volumes"]),
            release=details["release"],
            urls=await self._list_urls(app),
            seconds=round(time.monotonic() - began, 1),
            notes=tuple(notes + list(details["left"])),
        )

    async def _fetch_first(self, app: AppName, notes: list[str]) -> tuple[AppBackup, Path]:
        """Fetch the best backup of an app that is whole; one before it where that is not."""
        if not self.record.backups[app]:
            raise BackupMissing(f"{self.source.name} holds no backup of {app} that this server has signed.")
        failures: list[BackupDamaged] = []
        for name in self.record.backups[app]:
            try:
                offer = self._find_offer(name)
                place = await asyncio.to_thread(fetch, self.settings, self.source, offer, self.progress)
                backup = require_whole(place, offer).backup
            except BackupDamaged as error:
                failures.append(error)
            else:
                notes += [f"{error.message} An earlier backup was taken." for error in failures]
                return backup, place
        raise failures[0]

    def _find_offer(self, name: str) -> OfferedBackup:
        there = self.settings.backups_root / name
        if there.is_dir():
            backup = self.running.platform.app_backups.read(there)
            key = self.record.key
            return OfferedBackup(backup.app, name, backup.created_at, backup.size, backup.proven_at, key)
        if isinstance(self.offers, IkomaError):
            raise self.offers
        return find_offer(self.offers, self.record, name)

    async def _make_entry(self, app: AppName, backup: AppBackup, place: Path) -> str:
        apps = self.running.platform.apps
        if apps.locate(app).exists:  # it was moved out of its entry before the last run ended
            return name_entry(backup)
        self.progress(f"unpack {backup.name}")
        return await asyncio.to_thread(make_entry, apps, backup, place)

    async def _restore(self, app: AppName, entry: str) -> Mapping[str, Any]:
        """Call apps.restore; what the server goes on with by itself is waited for."""
        while True:
            try:
                return await self._call({"appName": app, "id": entry})
            except AppBusy:
                await asyncio.sleep(_BUSY_SECONDS)
            except TrashEntryMissing:
                if not self.running.platform.apps.locate(app).exists:
                    raise
                return await self._describe(app)

    async def _call(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        async def read(limit: int) -> Mapping[str, Any]:
            return arguments

        attempt = Attempt("apps.restore", None, None, secrets.token_hex(12), read, caller=RECOVERY)
        answer = await self.running.pipeline.execute(attempt, self.progress)
        result: Mapping[str, Any] = orjson.loads(answer.body)
        return result

    async def _describe(self, app: AppName) -> Mapping[str, Any]:
        """Describe an app that is back already, as apps.restore does."""
        from ikoma.apps.database import credentials
        from ikoma.rollout_state import RolloutState

        there = self.running.platform.apps.locate(app)
        owned = credentials.find(there)
        rows = await self.running.platform.databases.count_rows(owned) if owned else {}
        serving = RolloutState(there).read_serving()
        return {
            "message": "",
            "details": {
                "tables": {table: count for table, count in rows.items() if count is not None},
                "volumes": await self.running.platform.volumes.list_of(there),
                "release": serving.release if serving and not serving.down else None,
                "left": [],
            },
        }

    async def _list_urls(self, app: AppName) -> Sequence[str]:
        there = self.running.platform.apps.locate(app)
        return tuple(self.running.platform.routes.list_domain_urls(there).values())


def _tell_why_down(message: str, backup: AppBackup) -> str:
    """Tell why no release of an app serves: nothing where that was so before."""
    found = message.partition(" is back.")[2].strip()
    return found if backup.running else ""


async def _give_certificates(folder: Path) -> None:
    """Let the proxy's own user have the certificates, whatever its number is on this machine."""
    if use_when_root(USER) is not None:
        await make_user(USER)
        await asyncio.to_thread(_give, folder)


def _give(folder: Path) -> None:
    user = pwd.getpwnam(USER)
    for place, folders, names in os.walk(folder):
        for name in (".", *folders, *names):
            os.chown(Path(place, name), user.pw_uid, user.pw_gid, follow_symlinks=False)
