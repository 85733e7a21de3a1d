"""backup.create: database, volumes and folder of an app in one backup."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ikoma.apps.backups.folder import AppBackup
from ikoma.apps.backups.names import SERVER, AppBackupName
from ikoma.apps.backups.stillness import CRASH_CONSISTENT
from ikoma.apps.offsite.keeping import describe_backup_files
from ikoma.capabilities.backup.list import COLUMNS, BackupFacts, BackupRequest, describe_backup, find_backed_up
from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import Result, Untrusted, capability, listed, make_optional
from ikoma.model import Effect, Role


class BackupCreateRequest(BackupRequest):
    backup_name: AppBackupName | None = None
    """A name ending .backup; default: app and time."""
    pause: int | None = Field(default=None, ge=1, le=600)
    """Seconds for which what writes to its volumes is paused at most, while they are read."""

    @model_validator(mode="after")
    def has_volumes(self) -> Self:
        if self.pause is not None and self.app_name == SERVER:
            raise ValueError("pause is for an app: the server has no volumes")
        return self


class BackupCreateResult(Result):
    page: ClassVar = ResultPage(says="{message}", rows="backups", columns=COLUMNS)
    success: bool
    message: str
    path: str
    seconds: float
    """How long it took to make, without the proof."""
    backups: list[BackupFacts]
    volumes: dict[str, str] = make_optional()
    """consistent: nobody could write to it meanwhile; crash-consistent: its files may be of several moments."""
    paused_ms: int | None = make_optional()
    """How long writers were paused."""
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
    not_over_mcp=("backupName", "pause"),
)
async def create(call: Call, request: BackupCreateRequest) -> BackupCreateResult:
    """Back up an app's database, volumes and folder. A restore beside proves it."""
    of = find_backed_up(call, request.app_name)
    name = call.platform.app_backups.reserve(of, request.backup_name)
    if of == SERVER:
        made = await call.platform.state_backups.make(name, call.progress)
    else:
        made = await call.platform.backup_maker.make(call.find_app(of), name, call.progress, most_held=request.pause)
    warnings = _list_warnings(made)
    keeper = call.platform.offsite_keeper
    backup = describe_backup_files(call.platform.app_backups, made)
    left = await keeper.leave(backup, call.progress, scheduled=call.is_scheduled)
    if left is not None and left.warning is not None:
        warnings.append(left.warning)
    held = f" What writes to its volumes was paused for {made.held_seconds:.1f} s." if made.held_seconds else ""
    copied = " Its copy off this machine is verified." if left is not None and left.verified_at else ""
    return BackupCreateResult(
        success=True,
        message=f"{name} is made, and proven by a restore.{held}{copied}",
        path=str(call.platform.app_backups.root / name),
        seconds=made.seconds,
        backups=[describe_backup(made, call.platform.offsite.read_known().find(of, name))],
        volumes={name: str(told["consistency"]) for name, told in made.volumes.items()},
        paused_ms=round(made.held_seconds * 1000) or None,
        warnings=warnings,
    )


def _list_warnings(made: AppBackup) -> list[str]:
    warnings = ["The app ran meanwhile: files of its folder are of several moments."] if made.running else []
    changing = [name for name, told in made.volumes.items() if told["consistency"] == CRASH_CONSISTENT]
    if changing:
        names = ", ".join(changing)
        warnings.append(f"Crash-consistent, since they could be written to meanwhile: {names}. `pause` pauses writers.")
    return warnings
