"""Begins a recovery: chooses backups, brings the server's state here and puts it in its place.

Nothing of a server that has apps is touched. What is chosen is written down before the first file is put anywhere.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.names import SERVER, AppBackupName
from ikoma.apps.recovery.contents import AboutServer, read_about
from ikoma.apps.recovery.placing import clear_unpacked, place_state, put_aside, unpack_state
from ikoma.apps.recovery.record import Phase, RecoveryRecord, write_record
from ikoma.apps.recovery.source import BackupSource, OfferedBackup, choose, require_whole
from ikoma.apps.signing import BackupKey, make_fingerprint
from ikoma.apps.trash.entries import Trash
from ikoma.checkpoints import checkpoint
from ikoma.errors import BackupDamaged, BackupForeign, BackupMissing, RecoveryRefused
from ikoma.kernel.audit.entry import SUCCESS, AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.model import Role
from ikoma.ports.progress import Progress
from ikoma.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerRecoveryPlan:
    """The things that a recovery would bring back.

    Args:
        state: the backup of the server's state.
        apps: app → its backups, the one to be taken first; none where the place has none.
        others: backups of apps that the server did not have when its state was backed up.
    """

    state: OfferedBackup
    about: AboutServer
    apps: dict[str, list[OfferedBackup]]
    others: list[OfferedBackup]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key that signed the backups, for a person to compare."""
        return make_fingerprint(self.state.key)


def require_empty(settings: Settings) -> None:
    """Refuse where a server runs, or has apps.

    Raises:
        RecoveryRefused: names what is in the way, and the smallest change.
    """
    require_stopped(settings)
    apps = Apps(settings.apps_root)
    if not settings.apps_root.is_dir():
        return
    if names := apps.list_names():
        raise RecoveryRefused(
            f"This server has apps: {', '.join(names)}. A recovery is for one that has none.",
            hint=f"Recover on a new server; or remove them here first: ikoma remove {names[0]}.",
        )
    if entries := Trash(apps, settings.trash_days).list_entries():
        raise RecoveryRefused(
            f"The trash of this server holds {entries[0].id}. A recovery is for a server that has had no apps.",
            hint=f"ikoma trash-delete {entries[0].id} deletes it for good.",
        )


def require_stopped(settings: Settings) -> None:
    """Refuse where a server answers."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(settings.socket_file))
        except OSError:
            return
    raise RecoveryRefused(
        "IKOMA runs here, and its state cannot be replaced under it.",
        hint="Stop it first: sudo systemctl stop ikoma; with Docker: docker stop ikoma.",
    )


def plan_recovery(
    settings: Settings, source: BackupSource, state: str | None, progress: Progress
) -> ServerRecoveryPlan:
    """Choose what a recovery would bring back. The server's state is fetched for it, and nothing else is changed.

    Args:
        state: the name of the backup of the state; None is the newest proven one.

    Raises:
        BackupMissing: there is none.
        BackupDamaged: it is not whole, or the key in it is not the one that signed it.
    """
    progress("look for backups")
    offers = source.list_backups()
    found = [item for item in offers if item.app == SERVER and state in (None, item.name)]
    if not found:
        what = "no backup of a server's state" if state is None else f"no backup {state} of a server's state"
        raise BackupMissing(f"{source.name} holds {what}.", hint="`ikoma backup-create ikoma` makes one.")
    chosen = choose(found, SERVER)[0]
    place = fetch(settings, source, chosen, progress)
    tree = unpack_state(settings, place)
    about = read_about(tree)
    if BackupKey(tree / "backups.key").public != chosen.key:
        raise BackupForeign(f"{chosen.name} was signed by another server than the one that it holds.")
    apps = {
        app: choose(offers, app, key=chosen.key)
        if any(item.app == app and item.key == chosen.key for item in offers)
        else []
        for app in about.apps
    }
    others = {item.app: item for item in sorted(offers, key=lambda item: item.created_at) if item.app not in apps}
    return ServerRecoveryPlan(chosen, about, apps, [item for app, item in others.items() if app != SERVER])


def fetch(settings: Settings, source: BackupSource, offer: OfferedBackup, progress: Progress) -> Path:
    """Bring a backup to BACKUPS_ROOT, whole or not at all; its folder.

    Raises:
        BackupDamaged: it is not whole there.
    """
    backups = AppBackups(settings.backups_root, BackupKey(settings.ikoma_state / "backups.key"))
    target = settings.backups_root / AppBackupName.parse(offer.name)
    if target.is_dir():
        require_whole(target, offer)
        return target
    progress(f"fetch {offer.name}")
    with backups.work() as place:
        signed = source.fetch(offer, place)
        checkpoint("fetched")
        backups.adopt(place, signed.backup.name)
    return target


def begin(settings: Settings, plan: ServerRecoveryPlan, source: BackupSource) -> RecoveryRecord:
    """Write down what is brought back: from here on the recovery goes on until it is done."""
    record = RecoveryRecord(
        source=source.name,
        state=plan.state.name,
        made_at=plan.state.created_at,
        key=plan.state.key,
        backups={app: tuple(item.name for item in offers) for app, offers in plan.apps.items()},
    )
    write_record(settings.ikoma_state, record)
    checkpoint("recovery begun")
    return record


def settle_state(settings: Settings, record: RecoveryRecord) -> RecoveryRecord:
    """Put the server's state in its place, as far as that is not done yet, and say so in its audit log."""
    backup = settings.backups_root / record.state
    if record.phase is Phase.ASIDE:
        put_aside(settings)
        record = replace(record, phase=Phase.PLACING)
        write_record(settings.ikoma_state, record)
        checkpoint("state aside")
    if record.phase is Phase.PLACING:
        tree = unpack_state(settings, backup)
        place_state(settings, tree, backup)
        _write_audit_entry(settings, record)
        checkpoint("state placed")
        record = replace(record, phase=Phase.APPS)
        write_record(settings.ikoma_state, record)
    clear_unpacked(settings)
    return record


def find_offer(offers: Sequence[OfferedBackup], record: RecoveryRecord, name: str) -> OfferedBackup:
    """Find a backup that was chosen when the recovery began.

    Raises:
        BackupDamaged: it is not there any more.
    """
    found = next((item for item in offers if (item.name, item.key) == (name, record.key)), None)
    if found is None:
        raise BackupDamaged(f"{record.source} holds no {name} any more, or its manifest is not what was signed.")
    return found


def _write_audit_entry(settings: Settings, record: RecoveryRecord) -> None:
    """Continue the chain: what comes from here on was not written by the server that was."""
    log = AuditLog(settings.audit_log, settings.audit_head_file)
    entry = AuditEntry(
        record.id,
        "platform.recover",
        caller="ikoma",
        role=str(Role.ADMIN),
        arguments={"from": record.source, "backup": record.state, "createdAt": record.made_at},
        result=SUCCESS,
    )
    try:
        log.append(entry)
    finally:
        log.close()
