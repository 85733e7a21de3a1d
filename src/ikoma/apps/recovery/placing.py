"""Puts a server's state in its place on a new one; what that had of its own is put aside, and nothing of it is lost.

Each step can be done again: whatever moment a recovery ends at, the next run puts all of it in its place once more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from ikoma.apps.backups.archive import unpack
from ikoma.apps.recovery.contents import AUDIT, CERTIFICATES, DATABASE, OF_THE_MACHINE, SETTINGS, list_files, read_about
from ikoma.apps.recovery.state_backup import TRASH
from ikoma.checkpoints import checkpoint
from ikoma.durable import make_folder, remove_tree, sync_folder, write_file
from ikoma.errors import RecoveryRefused
from ikoma.kernel.audit.files import list_rotated
from ikoma.settings import Settings

BEFORE = "before-recovery"
_UNPACKED = "recovering"


def unpack_state(settings: Settings, backup: Path) -> Path:
    """Take the state of a backup apart under IKOMA_STATE; the folder.

    Args:
        backup: the folder of the backup.

    Raises:
        RecoveryRefused: its apps were in another folder.
    """
    tree = settings.ikoma_state / _UNPACKED
    if tree.exists():
        remove_tree(tree)
    unpack(backup / "folder.tar", tree)
    there = read_about(tree).apps_root
    if there != str(settings.apps_root):
        remove_tree(tree)
        raise RecoveryRefused(
            f"The apps of that server were in {there}, and what was deployed names its files by that path.",
            hint=f"Set APPS_ROOT={there} here, and call `ikoma recover` again.",
        )
    return tree


def put_aside(settings: Settings) -> None:
    """Move what the new server has of its own into IKOMA_STATE/before-recovery."""
    aside = settings.ikoma_state / BEFORE
    make_folder(aside, 0o700)
    for place in _list_places(settings):
        if os.path.lexists(place):
            target = aside / place.name
            number = 1
            while os.path.lexists(target):
                target, number = aside / f"{place.name}.{number}", number + 1
            if place == settings.env_file:  # until the end it says where everything is
                shutil.copy2(place, target)
            else:
                shutil.move(place, target)
            checkpoint("put aside")
    sync_folder(aside)


def place_state(settings: Settings, tree: Path, backup: Path) -> None:
    """Put everything in its place, in place of what an earlier try has put there."""
    _place(tree / DATABASE, settings.database_file, mode=0o600)
    for suffix in ("-wal", "-shm"):
        settings.database_file.with_name(settings.database_file.name + suffix).unlink(missing_ok=True)
    checkpoint("database placed")
    _place_audit_log(settings, tree)
    checkpoint("audit placed")
    for item in list_files(settings):
        kept = tree / item.kept
        if item.kept == CERTIFICATES:
            make_folder(item.place.parent, 0o711)
        if item.kept != SETTINGS and os.path.lexists(kept):
            _place(kept, item.place)
    _place_trash(settings, backup / TRASH)
    checkpoint("trash placed")
    # Last: settings say where all of this is. Those of the new server are aside by now.
    aside = settings.ikoma_state / BEFORE / settings.env_file.name
    known = (tree / SETTINGS).read_text() if (tree / SETTINGS).is_file() else ""
    write_file(settings.env_file, merge_settings(known, aside), mode=0o600)


def clear_unpacked(settings: Settings) -> None:
    if (tree := settings.ikoma_state / _UNPACKED).exists():
        remove_tree(tree)


def merge_settings(known: str, own: Path) -> str:
    """The settings of the old server, but for those that a machine has of its own.

    Args:
        known: the text of the old server's file.
        own: the new server's file.
    """
    lines = [item.original.string for item in _parse(known) if item.key not in OF_THE_MACHINE]
    if own.is_file():
        names = dotenv_values(stream=StringIO(known), interpolate=False)
        for item in _parse(own.read_text()):
            if item.key in OF_THE_MACHINE or (item.key and item.key not in names and item.key != "API_KEY_HASH"):
                lines.append(item.original.string)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _parse(text: str) -> Iterator[Binding]:
    return iter(parse_stream(StringIO(text)))


def _list_places(settings: Settings) -> Iterator[Path]:
    """List where the state is put."""
    yield settings.database_file
    yield from (settings.database_file.with_name(f"{settings.database_file.name}{end}") for end in ("-wal", "-shm"))
    yield settings.audit_head_file
    yield settings.audit_anchor_files[0]
    if settings.audit_log.parent.is_dir():
        yield from list_rotated(settings.audit_log)
    yield settings.audit_log
    given = (settings.source_ssh_key, settings.source_ca_file)
    yield from (item.place for item in list_files(settings) if item.place not in given)


def _place_audit_log(settings: Settings, tree: Path) -> None:
    settings.audit_log.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    for path in list_rotated(settings.audit_log):
        path.unlink()
    former = Path(read_about(tree).audit_log).stem
    for path in sorted((tree / AUDIT / "log").iterdir()):
        name = f"{settings.audit_log.stem}{path.stem.removeprefix(former)}{settings.audit_log.suffix}"
        _place(path, settings.audit_log.with_name(name), mode=0o600)
    _place(tree / AUDIT / "head", settings.audit_head_file, mode=0o600)
    _place(tree / AUDIT / "anchors.jsonl", settings.audit_anchor_files[0], mode=0o600)


def _place_trash(settings: Settings, folder: Path) -> None:
    trash = settings.apps_root / ".ikoma" / "trash"
    for archive in sorted(folder.glob("*.tar")) if folder.is_dir() else ():
        trash.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = trash / archive.stem
        if not target.exists():
            work = trash.parent / f"emptying-trash-{archive.stem}"  # a start removes what is left of it
            if work.exists():
                remove_tree(work)
            unpack(archive, work)
            os.rename(work, target)
            sync_folder(trash)


def _place(kept: Path, place: Path, *, mode: int | None = None) -> None:
    """Copy a file or folder to its place, whole or not at all."""
    if not kept.is_dir():
        write_file(place, kept.read_bytes(), mode=mode or kept.stat().st_mode & 0o777)
        return
    work = place.with_name(f"{place.name}.recovering")
    for path in (work, place):
        if path.exists():
            remove_tree(path)
    shutil.copytree(kept, work, symlinks=True)
    os.rename(work, place)
    sync_folder(place.parent)
