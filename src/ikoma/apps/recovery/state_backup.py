"""Makes the backup of the server itself: what it knows that no app's backup holds.

One tar file of state.db, the audit log, settings, keys, certificates and tokens; beside it the entries of the trash.
The copy of state.db is taken before that of the audit log, so that no operation in it is without its entry.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ikoma import __version__
from ikoma.apps.app import Apps
from ikoma.apps.backups.archive import take_inventory, unpack, write_folder
from ikoma.apps.backups.folder import FOLDER, AppBackup, AppBackups, describe_files
from ikoma.apps.backups.names import SERVER, AppBackupName
from ikoma.apps.recovery.contents import ABOUT, AUDIT, DATABASE, TREE, AboutServer, list_files, read_about
from ikoma.apps.trash.entries import Trash
from ikoma.checkpoints import checkpoint
from ikoma.durable import open_whole_file, remove_tree, write_file
from ikoma.errors import BackupDamaged, BackupUnproven
from ikoma.kernel.audit.copying import copy_log
from ikoma.kernel.audit.files import hash_line, read_last_line
from ikoma.kernel.audit.head import HeadFile
from ikoma.kernel.state.copying import check_state, copy_state
from ikoma.moments import format_moment
from ikoma.ports.progress import Progress
from ikoma.settings import Settings

TRASH = "trash"


@dataclass(frozen=True, slots=True)
class StateBackupMaker:
    """Makes and verifies backups of the server's own state."""

    settings: Settings
    apps: Apps
    trash: Trash
    backups: AppBackups

    async def make(self, name: AppBackupName, progress: Progress) -> AppBackup:
        """Back the server's state up and prove the copy.

        Raises:
            BackupExists: there is one of that name.
            BackupUnproven: state.db or the audit log is not sound; the backup is kept without a proof.
        """
        with self.backups.work() as place:
            began = time.monotonic()
            progress("copy the server's state")
            tree = place / TREE
            await asyncio.to_thread(self._gather, tree)
            checkpoint("state copied")
            progress("copy the trash")
            await asyncio.to_thread(self._save_trash, place / TRASH)
            proven_since = time.monotonic()
            problem = await asyncio.to_thread(find_problem, tree)
            proof_seconds = round(time.monotonic() - proven_since, 3)
            await asyncio.to_thread(_pack, tree, place / FOLDER)
            backup = AppBackup(
                app=SERVER,
                name=name,
                created_at=format_moment(datetime.now(UTC), "milliseconds"),
                ikoma=__version__,
                seconds=round(time.monotonic() - began, 3),
                files=await asyncio.to_thread(describe_files, place),
                folder=asdict(await asyncio.to_thread(take_inventory, place / FOLDER)),
            )
            if problem is None:
                proven_at = format_moment(datetime.now(UTC), "milliseconds")
                backup = replace(backup, proven_at=proven_at, restore_seconds=proof_seconds)
            self.backups.keep(place, backup)
            checkpoint("state kept")
        if problem is not None:
            raise BackupUnproven(f"{name} was made, and {problem}")
        return backup

    async def verify(self, backup: AppBackup) -> AppBackup:
        """Prove a backup again, by taking it apart beside.

        Raises:
            BackupDamaged: a file of it is not what its manifest says.
            BackupUnproven: state.db or the audit log in it is not sound.
        """
        place = self.backups.root / backup.name
        if await asyncio.to_thread(describe_files, place, tuple(backup.files)) != backup.files:
            raise BackupDamaged(f"{backup.name} is not what its manifest says: a file is another, or is not there.")
        with self.backups.work() as work:
            began = time.monotonic()
            await asyncio.to_thread(unpack, place / FOLDER, work / TREE)
            if (problem := await asyncio.to_thread(find_problem, work / TREE)) is not None:
                raise BackupUnproven(f"{backup.name} is as it was made, and {problem}")
        proven_at = format_moment(datetime.now(UTC), "milliseconds")
        proven = replace(backup, proven_at=proven_at, restore_seconds=round(time.monotonic() - began, 3))
        self.backups.record(place, proven)
        return proven

    def _gather(self, tree: Path) -> None:
        """Copy all that is kept into a folder."""
        settings = self.settings
        tree.mkdir(mode=0o700)
        copy_state(settings.database_file, tree / DATABASE)
        (tree / AUDIT).mkdir(mode=0o700)
        copy_log(settings.audit_log, settings.audit_head_file, settings.audit_anchor_files[:1], tree / AUDIT)
        for item in list_files(settings):
            target = tree / item.kept
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if item.place.is_dir():
                shutil.copytree(item.place, target, ignore=shutil.ignore_patterns("locks"), symlinks=True)
            elif item.place.is_file():
                shutil.copy2(item.place, target)
        names = [name for name in self.apps.list_names() if name.previewed is None]
        about = AboutServer(
            host=socket.gethostname(),
            ikoma=__version__,
            apps_root=str(settings.apps_root),
            apps=tuple(names),
            audit_log=settings.audit_log.name,
            key=self.backups.fingerprint,
        )
        write_file(tree / ABOUT, orjson.dumps(asdict(about), option=orjson.OPT_INDENT_2), mode=0o600)

    def _save_trash(self, folder: Path) -> None:
        """Keep the entries of the trash; one that an app still relies on is the app's own."""
        folder.mkdir(mode=0o700)
        for entry in self.trash.list_entries():
            if entry.is_complete and entry.find_intent() is None:
                with open_whole_file(folder / f"{entry.id}.tar", mode=0o600) as stream:
                    write_folder(entry.path, stream)


def find_problem(tree: Path) -> str | None:
    """Find out why a copy of the state is not sound; None where it is."""
    try:
        with closing(sqlite3.connect(tree / DATABASE)) as state:
            check_state(state)
    except sqlite3.DatabaseError as error:
        return f"its state.db is not sound: {error}."
    head = HeadFile(tree / AUDIT / "head")
    with closing(head):
        known = head.read()
    log = tree / AUDIT / "log" / read_about(tree).audit_log
    end = hash_line(_read_end(log)) if log.is_file() else None
    if known is not None and known.seq and end not in (None, known.hash, known.next):
        return f"its audit log does not end with entry {known.seq}."
    return None


def _read_end(log: Path) -> bytes:
    with log.open("rb") as stream:
        return read_last_line(stream.fileno(), log.stat().st_size)[0]


def _pack(tree: Path, target: Path) -> None:
    with open_whole_file(target, mode=0o600) as stream:
        write_folder(tree, stream)
    remove_tree(tree)
