"""Brings an app back to a whole backup: its database, its volumes and its folder.

The app is stopped, so nobody writes, and all that it has is backed up and proven before anything is replaced. From then
on `.ikoma/restoring-app.json` names both backups: a failure takes the app back to what was there, and after a kill the
next start goes on. Each part is done anew then, whatever was done of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import FOLDER, VOLUMES, AppBackup, AppBackups, describe_files
from ikoma.apps.backups.folder_files import replace_folder, sweep_folder
from ikoma.apps.backups.holders import require_unheld
from ikoma.apps.backups.making import AppBackupMaker
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.database.restoring import DatabaseRestorer, TableComparison
from ikoma.apps.deploying.deployer import Deployer, DeployOptions
from ikoma.apps.deploying.rollback import RollbackRequest
from ikoma.apps.releases.release import Releases
from ikoma.checkpoints import checkpoint
from ikoma.durable import translate_disk_full, write_file
from ikoma.errors import BackupDamaged, BackupUnproven, IkomaError, Next
from ikoma.moments import format_moment
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress
from ikoma.ports.volumes import ResourceInfo, Volumes
from ikoma.rollout_state import RolloutState

log = logging.getLogger("ikoma")

_FILE = "restoring-app.json"
_WAY_BACK = "restoring-app-back.json"
"""The note of the way back to what was there, written before anything is replaced."""
_GIVEN_UP = "restoring-app-given-up.json"
"""The note of a restore that has changed nothing and was told as failed, whose app does not serve again yet."""


@dataclass(frozen=True, slots=True)
class WholeRestore:
    """The note of a restore under way: `before` is the backup of what was there, once it is made."""

    backup: str
    at: str
    start: bool
    """Whether the app served when it began."""
    before: str | None = None


@dataclass(frozen=True, slots=True)
class WholeRestored:
    """An app that is as in a backup; `left` are things that are not, a line for each."""

    before: str
    tables: Mapping[str, int]
    volumes: tuple[str, ...]
    release: str | None
    """The release that serves; None where none does."""
    left: Sequence[str]


class AppBackupRestorer:
    """Restores whole apps in place. Callers hold the app's lock."""

    def __init__(
        self,
        volumes: Volumes,
        databases: Databases,
        backups: AppBackups,
        maker: AppBackupMaker,
        restorer: DatabaseRestorer,
        deployer: Deployer,
    ) -> None:
        self._volumes = volumes
        self._databases = databases
        self._backups = backups
        self._maker = maker
        self._restorer = restorer
        self._deployer = deployer
        self._left = asyncio.Event()

    def list_cut_off(self, apps: Apps) -> list[tuple[App, WholeRestore]]:
        """List the apps whose restore a killed server has left, or whose way back has failed, with its note."""
        return _list_noted(apps, _FILE)

    def list_given_up(self, apps: Apps) -> list[App]:
        """List the apps whose restore was told to have failed, and that are only to serve again."""
        return [app for app, _ in _list_noted(apps, _GIVEN_UP)]

    async def wait_until_left(self, seconds: float) -> None:
        """Wait until a restore leaves an app for later, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()
        self._left.clear()

    async def compare(self, app: App, backup: AppBackup) -> list[TableComparison]:
        """Compare the app's tables now with those of a backup; nothing is changed."""
        self._require_whole(app, backup)
        if backup.database is None:
            return []
        return await self._restorer.compare(app, self._backups.describe_database(backup))

    async def list_losses(self, app: App, backup: AppBackup) -> list[str]:
        """List what would be replaced, a line for each."""
        lines = [f"the files of the app's folder: {backup.folder['entries']} come back"]
        lines += [f"the volume {name}: {told['entries']} files come back" for name, told in backup.volumes.items()]
        if backup.database is not None:
            lines.append(
                "the database"
                + ("" if (copy := await self._databases.find_undo(app.name)) is None else f", and {copy}")
            )
        return lines

    async def restore(self, app: App, backup: AppBackup, options: DeployOptions) -> WholeRestored:
        """Let an app be as in a backup of it.

        Raises:
            BackupDamaged, BackupUnproven, VolumeInUse: it cannot be restored; nothing was changed.
            IkomaError: a part could not be restored; the app is as it was before.
        """
        await asyncio.to_thread(self._require_whole, app, backup)
        await require_unheld(self._volumes, app.name, tuple(backup.volumes))
        begun = _read(app, _FILE) or _read(app, _GIVEN_UP)
        begun = begun or WholeRestore(backup.name, _format_now(), start=_serves(app))
        if begun.before is not None:
            _note_way_back(app, begun, begun.before)
        _write(app, replace(begun, backup=backup.name))
        (app.state / _GIVEN_UP).unlink(missing_ok=True)
        checkpoint("whole: noted")
        try:
            options.progress("stop the app")
            await self._deployer.take_down(app, options.progress)
            checkpoint("whole: stopped")
            before = begun.before or await self._back_up(app, options.progress)
            note = replace(begun, backup=backup.name, before=before)
            _note_way_back(app, note, before)
            _write(app, note)
        except BaseException as error:
            if begun.before is None:
                await asyncio.shield(self._give_up(app, begun, options))
            else:  # an earlier try may have replaced parts
                await asyncio.shield(self._take_back(app, begun, error, options))
            raise
        checkpoint("whole: backed up")
        try:
            left = await self._replace(app, backup, note, options.progress)
        except BaseException as error:
            await asyncio.shield(self._take_back(app, note, error, options))
            raise
        release = await self._start(app, backup, note, options, left)
        _end(app)
        tables = {} if backup.database is None else backup.database["tables"]
        return WholeRestored(before, tables, tuple(backup.volumes), release, left)

    def _require_whole(self, app: App, backup: AppBackup) -> None:
        """See that a backup can be restored, before anything is stopped."""
        if backup.proven_at is None:
            raise BackupUnproven(
                f"{backup.name} was not proven: nobody knows whether it can be restored.",
                hint="backup.verify proves it. Nothing was changed.",
                next=Next("backup.verify", {"backupName": backup.name}),
            )
        place = self._backups.root / backup.name
        if describe_files(place, tuple(backup.files)) != backup.files:
            raise BackupDamaged(f"{backup.name} is not what its manifest says: a file is another, or is not there.")
        RolloutState(app).require_settled()

    async def _back_up(self, app: App, progress: Progress) -> str:
        progress("back up what is there")
        name = self._backups.reserve(app.name, None)
        return (await self._maker.make(app, name, progress)).name

    # --- the parts ---

    async def _replace(self, app: App, backup: AppBackup, note: WholeRestore, progress: Progress) -> list[str]:
        """Replace each part; what of the app is not in the backup stays, and is told."""
        left = await self._replace_database(app, backup, note, progress)
        checkpoint("whole: database")
        for name in backup.volumes:
            progress(f"restore the volume {name}")
            await self._replace_volume(app, backup, name)
            checkpoint("whole: volume")
        there = await self._volumes.list_of(app)
        left += [f"The volume {name} is not in the backup, and stays." for name in there if name not in backup.volumes]
        progress("restore the app's folder")
        await asyncio.to_thread(replace_folder, app, self._backups.root / backup.name / FOLDER)
        checkpoint("whole: folder")
        return left

    async def _replace_database(self, app: App, backup: AppBackup, note: WholeRestore, progress: Progress) -> list[str]:
        if backup.database is None:
            has_one = await self._databases.owns(app.name)
            return ["The database is not in the backup, and stays."] if has_one else []
        copy = await self._databases.find_undo(app.name)
        manifest = self._backups.describe_database(backup)
        if copy is None or copy.backup != manifest.name or copy.replaced_at < note.at:  # else it is done already
            await self._restorer.restore(app, manifest, progress)
        return []

    async def _replace_volume(self, app: App, backup: AppBackup, name: str) -> None:
        told = backup.volumes[name]
        made = ResourceInfo(app.name.project, told["driver"], told["options"], told["labels"])
        if name in await self._volumes.map_owners():
            await self._volumes.remove(name)
        checkpoint("whole: volume removed")
        await self._volumes.load(app.name, name, made, self._backups.root / backup.name / VOLUMES / f"{name}.tar")

    # --- afterwards ---

    async def _start(
        self, app: App, backup: AppBackup, note: WholeRestore, options: DeployOptions, left: list[str]
    ) -> str | None:
        """Let the release of the backup serve, where one served before; the parts are back whatever comes of it."""
        if not note.start:
            return None
        current = Releases(app).find_current()
        try:
            if current is None or backup.release in (None, current.id):
                release, _ = await self._deployer.restart(app, options)
            else:
                release, _, _ = await self._deployer.go_back(app, RollbackRequest(backup.release), options)
        except IkomaError as error:
            left.append(f"Its release does not serve: {error.audit_message} deploy.up deploys it anew.")
            return None
        return release.id

    async def _give_up(self, app: App, note: WholeRestore, options: DeployOptions) -> None:
        """Start again what was stopped: nothing was replaced yet."""
        if await self._serve_again(app, note, options):
            _end(app)
        else:
            os.replace(app.state / _FILE, app.state / _GIVEN_UP)
            self._left.set()

    async def serve_again(self, app: App, options: DeployOptions) -> None:
        """Let an app serve again whose restore was given up, once that can be."""
        note = _read(app, _GIVEN_UP)
        if note is not None and await self._serve_again(app, note, options):
            _end(app)

    async def _take_back(self, app: App, note: WholeRestore, error: BaseException, options: DeployOptions) -> None:
        """Bring back what was there; where that fails too, it is tried again later."""
        assert note.before is not None
        os.replace(app.state / _WAY_BACK, app.state / _FILE)
        back = _read(app, _FILE)
        assert back is not None
        try:
            await self._replace(app, self._backups.find(app.name, AppBackupName(note.before)), back, options.progress)
        except IkomaError as other:
            if isinstance(error, IkomaError):
                error.add(
                    f"What was there is in {note.before}, and could not be brought back yet: {other.audit_message}"
                )
            self._left.set()
            return
        if not await self._serve_again(app, note, options):
            self._left.set()
            return
        _end(app)
        if isinstance(error, IkomaError):
            error.add(f"{app.name} is as it was before; {note.before} holds that too.")

    async def _serve_again(self, app: App, note: WholeRestore, options: DeployOptions) -> bool:
        """Let the app serve where it did; whether that is so."""
        if not note.start:
            return True
        try:
            with translate_disk_full():
                if not await self._deployer.is_serving(app):
                    await self._deployer.restart(app, options)
        except IkomaError as error:
            log.warning("%s: its restore was given up, and it does not serve yet: %s", app.name, error.audit_message)
            return False
        return True


def _list_noted(apps: Apps, name: str) -> list[tuple[App, WholeRestore]]:
    found = ((app, _read(app, name)) for app in map(apps.locate, apps.list_names()))
    return [(app, note) for app, note in found if note is not None]


def _read(app: App, name: str) -> WholeRestore | None:
    return app.read_state(name, lambda stored: WholeRestore(**stored))


def _note_way_back(app: App, note: WholeRestore, before: str) -> None:
    """Write the way back while nothing is replaced yet: a full disk must not cost it."""
    _write(app, replace(note, backup=before, before=before, at=_format_now()), _WAY_BACK)


def _write(app: App, note: WholeRestore, name: str = _FILE) -> None:
    write_file(app.make_state() / name, orjson.dumps(asdict(note)), mode=0o600)


def _end(app: App) -> None:
    sweep_folder(app)
    for name in (_WAY_BACK, _GIVEN_UP, _FILE):
        (app.state / name).unlink(missing_ok=True)


def _serves(app: App) -> bool:
    serving = RolloutState(app).read_serving()
    return serving is not None and not serving.down


def _format_now() -> str:
    return format_moment(datetime.now(UTC), "microseconds")
