"""backup.delete: delete a backup for good."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from ikoma.apps.backups.names import AnyBackupName, AppBackupName
from ikoma.capabilities.backup.list import (
    COLUMNS,
    BackupFacts,
    BackupRequest,
    describe_backup,
    describe_copy,
    describe_dump,
    find_backed_up,
    list_backups,
)
from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import Loss, Result, capability, listed
from ikoma.model import DUMP_ENDINGS, AppName, BackupName, Effect, Role


class BackupDeleteRequest(BackupRequest):
    backup_name: AnyBackupName


class BackupDeleteResult(Result):
    page: ClassVar = ResultPage(says="{message}", rows="backups", columns=COLUMNS)
    success: bool
    message: str
    backups: list[BackupFacts]
    """Backups that are left."""


async def find_losses(call: Call, request: BackupDeleteRequest) -> Loss:
    """The backup; those that are left hold what they hold."""
    of = find_backed_up(call, request.app_name)
    found = _find(call, of, request.backup_name)
    left = [item.name for item in list_backups(call, of) if item.proven and item.name != found.name]
    kept = f"the proven backup {left[0]}" if left else "no other proven backup"
    return Loss(
        f"Delete the backup {found.name}.",
        (f"the backup {found.name} of {found.created_at}: {', '.join(found.holds)}",),
        (kept,),
    )


@capability("backup.delete", role=Role.ADMIN, effect=Effect.DESTROYS, loses=find_losses, rare=True)
@listed("database", "backup-delete", "Delete a backup for good.", no_tool=True)
async def delete(call: Call, request: BackupDeleteRequest) -> BackupDeleteResult:
    """Delete a backup for good."""
    of = find_backed_up(call, request.app_name)
    found = _find(call, of, request.backup_name)
    name, message = found.name, f"{found.name} is deleted for good."
    if (copy := call.platform.offsite.read_known().find(of, name)) is not None:
        if copy.is_locked:
            message = f"{name} is deleted here; its copy off this machine is locked until {copy.locked_until}."
        else:
            await call.platform.offsite.delete(of, name)
    if "here" in found.places and name.endswith(DUMP_ENDINGS):
        await asyncio.to_thread(call.platform.backups.remove, name)
    elif "here" in found.places:
        await asyncio.to_thread(call.platform.app_backups.remove, AppBackupName(name))
    left = await asyncio.to_thread(list_backups, call, of)
    return BackupDeleteResult(success=True, message=message, backups=left)


def _find(call: Call, of: AppName, name: AnyBackupName) -> BackupFacts:
    copy = call.platform.offsite.read_known().find(of, name)
    if copy is not None and not (call.platform.backups.root / name).exists():
        return describe_copy(copy)
    if name.endswith(DUMP_ENDINGS):
        return describe_dump(call.platform.backups.find(of, BackupName(name)))
    return describe_backup(call.platform.app_backups.find(of, AppBackupName(name)))
