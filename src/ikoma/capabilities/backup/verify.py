"""backup.verify: prove a backup again."""

from __future__ import annotations

from typing import ClassVar

from ikoma.apps.backups.names import SERVER, AnyBackupName, AppBackupName
from ikoma.apps.database.proof import prove_dump
from ikoma.capabilities.backup.list import (
    COLUMNS,
    BackupFacts,
    BackupRequest,
    describe_backup,
    describe_dump,
    find_backed_up,
)
from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import Result, capability, listed
from ikoma.model import DUMP_ENDINGS, BackupName, Effect, Role


class BackupVerifyRequest(BackupRequest):
    backup_name: AnyBackupName


class BackupVerifyResult(Result):
    page: ClassVar = ResultPage(says="{message}", rows="backups", columns=COLUMNS)
    success: bool
    message: str
    backups: list[BackupFacts]


@capability(
    "backup.verify",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    idempotent=True,
    rare=True,
    harmless="it restores beside",
)
@listed("database", "backup-verify", "Prove a backup again by a restore beside.", no_tool=True)
async def verify(call: Call, request: BackupVerifyRequest) -> BackupVerifyResult:
    """Prove a backup: its files and signature, and a restore beside that is compared."""
    of = find_backed_up(call, request.app_name)
    await call.platform.backup_return.ensure(of, request.backup_name, call.progress)
    copy = call.platform.offsite.read_known().find(of, request.backup_name)
    if of == SERVER:
        backup = call.platform.app_backups.find(of, AppBackupName(request.backup_name))
        facts = describe_backup(await call.platform.state_backups.verify(backup), copy)
    elif request.backup_name.endswith(DUMP_ENDINGS):
        app = call.find_app(of)
        name = BackupName(request.backup_name)
        proven = await prove_dump(call.platform.databases, call.platform.backups, app, name, call.progress)
        facts = describe_dump(proven, copy)
    else:
        app = call.find_app(of)
        backup = call.platform.app_backups.find(of, AppBackupName(request.backup_name))
        facts = describe_backup(await call.platform.backup_maker.verify(app, backup, call.progress), copy)
    return BackupVerifyResult(
        success=True, message=f"{facts.name} is whole: it was restored beside and compared.", backups=[facts]
    )
