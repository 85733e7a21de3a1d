"""db.backup: a dump that psql restores over the database."""

from __future__ import annotations

from typing import Annotated

from ikoma.apps.database import own_database
from ikoma.apps.database.proof import BackupProof, tell_kept
from ikoma.apps.offsite.keeping import describe_dump_files
from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import BackupName, Effect, Role, quote_name
from ikoma.ports.databases import Dump

_MOST_NAMED = 10


class DbBackupRequest(AppRequest):
    backup_name: BackupName | None = None
    """Ends .sql or .sql.zst."""


class DbBackupResult(Result):
    backup_path: str
    size: int
    sha256: str
    tables: dict[str, int]
    """Rows of each table, counted in the dump's own snapshot."""
    proven: bool
    """True: it was restored into a database beside, and each table compared: its rows, and their checksum."""
    dump_seconds: float
    """How long writing the file took, without the checksums and the proof."""
    restore_seconds: float
    """How long that restore took: to recover takes about as long."""
    offsite_verified_at: str | None
    """When its copy off this machine was read back there and found whole; null: there is none yet."""
    warnings: Annotated[list[str], Untrusted("warnings", ours=True)]
    """Parts the backup does not hold, and tables of which only the rows were counted."""


@capability("db.backup", role=Role.OPERATOR, effect=Effect.CHANGES, harmless="it adds a file, and overwrites none")
@listed(
    "database",
    "backup",
    "Dump the app's database to a file.",
    optional=("backupName",),
    not_in_text=("backupPath", "proven"),
    says=lambda fields: f"Backed up and proven by a restore: {fields.get('backupPath')}.",
)
async def backup(call: Call, request: DbBackupRequest) -> DbBackupResult:
    """Dump the app's database to a new file. Use it before anything risky."""
    app = call.find_app(request.app_name)
    owned = await own_database.require(app, call.platform.validator.resolve_model)
    target = call.platform.backups.reserve(
        app.name, request.backup_name, others=call.platform.apps.list_names(), packed=call.is_scheduled
    )
    proof = BackupProof(call.platform.databases, owned, target.name, call.progress)
    with call.step("dump"):
        dump = await call.platform.databases.dump(
            app.name, target, summed=True, before=proof.make, progress=call.progress
        )
    manifest = call.platform.backups.record(app.name, dump, restored_in=proof.seconds)
    try:
        taken = proof.require()
    except IkomaError as error:
        tell_kept(error, manifest.name)
        raise
    files = describe_dump_files(call.platform.backups, manifest)
    left = await call.platform.offsite_keeper.leave(files, call.progress, scheduled=call.is_scheduled)
    warnings = [left.warning] if left is not None and left.warning is not None else []
    return DbBackupResult(
        backup_path=str(dump.path),
        size=dump.size,
        sha256=dump.sha256,
        tables=dict(dump.tables),
        proven=True,
        dump_seconds=round(dump.seconds, 3),
        restore_seconds=round(taken, 3),
        offsite_verified_at=left.verified_at if left is not None else None,
        warnings=warnings
        + _list_uncompared(dump)
        + own_database.explain_backup(await call.platform.validator.resolve_model(app)),
    )


def _list_uncompared(dump: Dump) -> list[str]:
    without = [quote_name(name) for name in dump.tables if name not in dump.checksums]
    if not without:
        return []
    more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
    return [
        f"Without a checksum, since they were locked or changed meanwhile: {', '.join(without[:_MOST_NAMED])}{more}."
    ]
