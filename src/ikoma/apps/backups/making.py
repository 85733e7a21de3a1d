"""Makes backups of whole apps, and proves them: each part is restored beside and compared with what was read.

The database is dumped from one snapshot. Volumes and the app's folder are read file by file: where somebody could write
to a volume meanwhile, its files may be of several moments, and the record says so. Writers are held still on request.
"""

from __future__ import annotations

import asyncio
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ikoma import __version__
from ikoma.app_folder import App
from ikoma.apps.backups.archive import take_inventory, write_folder
from ikoma.apps.backups.folder import (
    DUMP,
    FOLDER,
    MAKING,
    PARALLEL_DUMP,
    STATE,
    VOLUMES,
    AppBackup,
    AppBackups,
    describe_files,
)
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.backups.stillness import CONSISTENT, CRASH_CONSISTENT, VolumeWriters
from ikoma.apps.database import credentials
from ikoma.apps.database.proof import BackupProof, tell_kept
from ikoma.checkpoints import checkpoint
from ikoma.durable import open_whole_file, remove_tree
from ikoma.errors import BackupDamaged, BackupFailed, BackupUnproven, IkomaError
from ikoma.moments import format_moment
from ikoma.ports.databases import Databases, Dump
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import Engine
from ikoma.ports.volumes import ResourceInfo
from ikoma.rollout_state import RolloutState

_PROOF = "ikoma-proof-"
_TREE = re.compile(r"releases/[^/]+/tree")


class AppBackupMaker:
    """Makes and verifies backups. Callers hold the app's lock."""

    def __init__(
        self, engine: Engine, databases: Databases, backups: AppBackups, *, parallel_above: int | None = None
    ) -> None:
        """
        Args:
            parallel_above: bytes of a database, above which several workers dump it; None: of none.
        """
        self._parallel_above = parallel_above
        self._engine = engine
        self._databases = databases
        self._backups = backups
        self.writers = VolumeWriters(engine)

    async def make(
        self, app: App, name: AppBackupName, progress: Progress, *, most_held: int | None = None
    ) -> AppBackup:
        """Back an app up and prove the backup.

        Args:
            most_held: seconds for which writers of its volumes may be held still; None lets them write.

        Raises:
            BackupExists: there is one of that name.
            BackupUnproven: a part of it cannot be restored as it was; the backup is kept without a proof. It is, too,
                where something is away or full while it is tried.
            BackupFailed, AppBusy: a part could not be read; nothing is kept.
        """
        await self.sweep()
        with self._backups.work() as place:
            began = time.monotonic()
            running = any(item.is_active for item in (await self._engine.runtime.observe(app)).replicas)
            volumes, held = await self._save_volumes(app, place, most_held, progress)
            checkpoint("volumes")
            dump = await self._dump(app, place, progress)
            checkpoint("database")
            progress("read the app's folder")
            await asyncio.to_thread(_save_folder, app, place / FOLDER)
            await asyncio.to_thread(_save_state, app, place / STATE)
            backup = AppBackup(
                app=app.name,
                name=name,
                created_at=format_moment(datetime.now(UTC), "milliseconds"),
                ikoma=__version__,
                seconds=0,
                files=await asyncio.to_thread(describe_files, place),
                folder=await _take_inventory(place / FOLDER, f"The folder of {app.name}"),
                volumes=volumes,
                database=None if dump is None else _describe_dump(dump),
                release=None if (serving := RolloutState(app).read_serving()) is None else serving.release,
                migration=await self._find_migration(app),
                running=running,
                held_seconds=held,
            )
            backup = replace(backup, seconds=round(time.monotonic() - began, 3))
            checkpoint("read")
            backup, failure = await self._try_to_prove(app, place, backup, progress)
            if isinstance(failure, BackupUnproven) and backup.has_parallel_dump:
                backup = await self._dump_as_text(app, place, backup, progress)
                backup, failure = await self._try_to_prove(app, place, backup, progress)
            checkpoint("proven")
            self._backups.keep(place, backup)
            checkpoint("kept")
        if failure is not None:
            tell_kept(failure, name)
            raise failure
        return backup

    async def verify(self, app: App, backup: AppBackup, progress: Progress) -> AppBackup:
        """Prove a backup again, and write down that it was.

        Raises:
            BackupDamaged: a file of it is not what its manifest says.
            BackupUnproven: a part of it cannot be restored as it was.
        """
        await self.sweep()
        place = self._backups.root / backup.name
        progress("compare the files with the manifest")
        if await asyncio.to_thread(describe_files, place, tuple(backup.files)) != backup.files:
            raise BackupDamaged(f"{backup.name} is not what its manifest says: a file is another, or is not there.")
        with self._backups.work() as work:
            proven = await self._prove(app, place, backup, work, progress)
        self._backups.record(place, proven)
        return proven

    async def sweep(self) -> None:
        """Remove what killed servers have left: work folders, and the volumes that stood in."""
        for place in await asyncio.to_thread(self._backups.list_left):
            mark = _PROOF + place.name.removeprefix(MAKING)
            for volume in [item for item in await self._engine.volumes.map_owners() if item.startswith(mark)]:
                await self._engine.volumes.remove(volume)
            await asyncio.to_thread(remove_tree, place)

    # --- reading ---

    async def _save_volumes(
        self, app: App, place: Path, most_held: int | None, progress: Progress
    ) -> tuple[dict[str, Mapping[str, Any]], float]:
        """Save all volumes; what is told of each, and for how many seconds their writers were held still."""
        names = await self._engine.volumes.list_of(app)
        made = await self._engine.volumes.describe_all() if names else {}
        (place / VOLUMES).mkdir(mode=0o700)
        names = [name for name in names if name in made]  # an anonymous one may have gone with its container
        changing: set[str] = set()
        await self.writers.end_hold(app)  # those that a killed server has left
        async with self.writers.held(app, names, most_held, progress) as hold:
            for name in names:
                progress(f"read the volume {name}")
                could_change = await self.writers.can_change(name, hold)
                await self._engine.volumes.save(app.name, name, place / VOLUMES / f"{name}.tar")
                if could_change or await self.writers.can_change(name, hold):
                    changing.add(name)
        described: dict[str, Mapping[str, Any]] = {}
        for name in names:
            info = made[name]
            described[name] = {
                **await _take_inventory(place / VOLUMES / f"{name}.tar", f"The volume {name}"),
                "consistency": CRASH_CONSISTENT if name in changing else CONSISTENT,
                "driver": info.driver,
                "options": {**info.options},
                "labels": {**info.labels},
            }
        return described, round(hold.seconds, 3)

    async def _dump(self, app: App, place: Path, progress: Progress) -> Dump | None:
        if credentials.find(app) is None or not await self._databases.owns(app.name):
            return None
        progress("dump the database")
        size = (await self._databases.read_state(app.name)).size
        if self._parallel_above is not None and size > self._parallel_above:
            return await self._databases.dump_folder(app.name, place / PARALLEL_DUMP, progress)
        return await self._databases.dump(app.name, place / DUMP, summed=True, progress=progress)

    async def _dump_as_text(self, app: App, place: Path, backup: AppBackup, progress: Progress) -> AppBackup:
        """Dump the database once more: what several workers restore has no way for all that a database can hold."""
        progress("dump the database again, as one text")
        await asyncio.to_thread(remove_tree, place / PARALLEL_DUMP)
        dump = await self._databases.dump(app.name, place / DUMP, summed=True, progress=progress)
        files = await asyncio.to_thread(describe_files, place)
        return replace(backup, database=_describe_dump(dump), files=files)

    async def _find_migration(self, app: App) -> str | None:
        owned = credentials.find(app)
        if owned is None or not await self._databases.owns(app.name):
            return None
        entries = await self._databases.read_ledger(owned)
        return entries[-1].name if entries else None

    # --- proving ---

    async def _try_to_prove(
        self, app: App, place: Path, backup: AppBackup, progress: Progress
    ) -> tuple[AppBackup, IkomaError | None]:
        """The backup, proven, or why it is not."""
        try:
            return await self._prove(app, place, backup, place, progress), None
        except IkomaError as error:
            return backup, error

    async def _prove(self, app: App, place: Path, backup: AppBackup, work: Path, progress: Progress) -> AppBackup:
        """Restore each part beside, and compare it."""
        began = time.monotonic()
        if (dump := backup.describe_dump(place)) is not None:
            proof = BackupProof(self._databases, credentials.require(app), backup.name, progress)
            await proof.make(dump)
            proof.require()
        for number, (volume, told) in enumerate(backup.volumes.items()):
            progress(f"prove the volume {volume}")
            stand_in = f"{_PROOF}{work.name.removeprefix(MAKING)}-{number}"
            await self._prove_volume(app, place / VOLUMES / f"{volume}.tar", stand_in, told, work / "proof.tar")
        taken = round(time.monotonic() - began, 3)
        return replace(backup, proven_at=format_moment(datetime.now(UTC), "milliseconds"), restore_seconds=taken)

    async def _prove_volume(self, app: App, file: Path, stand_in: str, told: Mapping[str, Any], work: Path) -> None:
        made = ResourceInfo(project="", driver="local", labels={"ikoma.proof": app.name})
        try:
            await self._engine.volumes.load(app.name, stand_in, made, file)
            checkpoint("volume restored")
            await self._engine.volumes.save(app.name, stand_in, work)
            found = await _take_inventory(work, f"The volume {file.stem}, restored beside,")
        finally:
            await asyncio.to_thread(work.unlink, missing_ok=True)
            await asyncio.shield(self._remove_stand_in(stand_in))
        if found != {name: told[name] for name in found}:
            raise BackupUnproven(f"The volume {file.stem} was backed up, and its files are others when restored.")

    async def _remove_stand_in(self, stand_in: str) -> None:
        if stand_in in await self._engine.volumes.map_owners():
            await self._engine.volumes.remove(stand_in)


async def _take_inventory(path: Path, what: str) -> dict[str, Any]:
    try:
        return asdict(await asyncio.to_thread(take_inventory, path))
    except tarfile.TarError as error:
        raise BackupFailed(f"{what} could not be read to its end.") from error


def _save_folder(app: App, target: Path) -> None:
    with open_whole_file(target, mode=0o600) as stream:
        write_folder(app.path, stream, without=lambda path: path == app.state.name)


def _save_state(app: App, target: Path) -> None:
    """Keep what IKOMA knows of the app. Copies of source, but for the one that serves, are made again of objects."""
    serving = RolloutState(app).read_serving()
    own = f"releases/{serving.release}/tree" if serving else ""
    with open_whole_file(target, mode=0o600) as stream:
        write_folder(app.state, stream, without=lambda path: path != own and _TREE.fullmatch(path) is not None)


def _describe_dump(dump: Dump) -> dict[str, Any]:
    return {
        "tables": {**dump.tables},
        "checksums": {**dump.checksums},
        "postgres": dump.postgres,
        "seconds": round(dump.seconds, 3),
    }
