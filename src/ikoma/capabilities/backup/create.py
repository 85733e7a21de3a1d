"""backup.create: database, volumes and folder of an app in one backup."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ikoma.apps.backups.names import SERVER, AppBackupName
from ikoma.apps.offsite.keeping import describe_backup_files
from ikoma.capabilities.backup.list import COLUMNS, BackupFacts, BackupRequest, describe_backup, find_backed_up
from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import Result, Untrusted, capability, listed
from ikoma.model import Effect, Role


class BackupCreateRequest(BackupRequest):
    backup_name: AppBackupName | None = None
    """A name ending .backup; default: app and time."""


class BackupCreateResult(Result):
    page: ClassVar = ResultPage(says="{message}", rows="backups", columns=COLUMNS)
    success: bool
    message: str
    path: str
    seconds: float
    """How long it took to make, without the proof."""
    backups: list[BackupFacts]
    warnings: Annotated[list[str], Untrusted("warnings", ours=True)]


@capability(
    "backup.create",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    rare=True,
    harmless="it adds a backup, and overwrites none",
)
@listed(
    "database",
    "backup-create",
    "Back up an app: database, volumes and folder.",
    optional=("backupName",),
    not_over_mcp=("backupName",),
)
async def create(call: Call, request: BackupCreateRequest) -> BackupCreateResult:
    """Back up an app's database, volumes and folder. A restore beside proves it."""
    of = find_backed_up(call, request.app_name)
    name = call.platform.app_backups.reserve(of, request.backup_name)
    if of == SERVER:
        made = await call.platform.state_backups.make(name, call.progress)
    else:
        made = await call.platform.backup_maker.make(call.find_app(of), name, call.progress)
    warnings = (
        ["The app ran meanwhile: files of its volumes and folder are of several moments."] if made.running else []
    )
    keeper = call.platform.offsite_keeper
    backup = describe_backup_files(call.platform.app_backups, made)
    left = await keeper.leave(backup, call.progress, scheduled=call.is_scheduled)
    if left is not None and left.warning is not None:
        warnings.append(left.warning)
    copied = " Its copy off this machine is verified." if left is not None and left.verified_at else ""
    return BackupCreateResult(
        success=True,
        message=f"{name} is made, and proven by a restore.{copied}",
        path=str(call.platform.app_backups.root / name),
        seconds=made.seconds,
        backups=[describe_backup(made, call.platform.offsite.read_known().find(of, name))],
        warnings=warnings,
    )
