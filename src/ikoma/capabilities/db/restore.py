"""db.restore: let the app's database equal a backup, with a way back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from ikoma.app_folder import App
from ikoma.apps.backups.foreign import find_foreign
from ikoma.apps.backups.names import AnyBackupName, AppBackupName
from ikoma.apps.database import own_database
from ikoma.apps.database.backups import BackupManifest
from ikoma.apps.database.restoring import RestoredDatabase, TableComparison, list_losses
from ikoma.apps.database.restoring_tables import RestoredAppTables
from ikoma.capabilities.context import Call
from ikoma.errors import DatabasesUnavailable, Next, RoleTooLow
from ikoma.kernel.page import Column, Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, Untrusted, capability, listed, make_optional
from ikoma.model import DUMP_ENDINGS, AppName, BackupName, Effect, Role, quote_name
from ikoma.moments import EntryTime

TableName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""As db.status shows it; with its schema where that is not public."""


_BEFORE = "a backup that is made before"


class DbRestoreRequest(AppRequest):
    backup_name: AnyBackupName | None = None
    as_: AppName | None = Field(default=None, alias="as")
    tables: list[TableName] | None = Field(default=None, min_length=1, max_length=100)
    plan: bool = False
    undo: bool = False
    time: EntryTime | None = None
    foreign: bool = False
    """An admin's word for a backup that this server has not made."""

    @model_validator(mode="after")
    def is_one_thing(self) -> Self:
        if sum((self.backup_name is not None, self.undo, self.time is not None)) != 1:
            raise ValueError("give backupName, or undo, or time: one of them")
        if self.tables is not None and self.undo:
            raise ValueError("tables goes with backupName or time")
        if self.foreign and (self.backup_name is None or self.tables is not None or self.plan):
            raise ValueError("foreign goes with backupName, and neither with tables nor with plan")
        if self.undo and (self.as_ or self.plan):
            raise ValueError("undo goes with appName alone")
        if self.time is not None and self.as_:
            raise ValueError("time goes back in the app's own database: leave `as` out")
        return self

    @property
    def locked(self) -> AppName:
        return self.as_ or self.app_name


class DbRestoreTable(Result):
    name: Annotated[str, Untrusted("table name", ours=True)]
    now: int | None
    """Rows; null where it is not there."""
    backup: int | None


class DbRestoreDetails(Result):
    lost: Annotated[list[str], Untrusted("table names", ours=True)] = make_optional(())
    """Rows that the undo copy alone has then."""
    rows: dict[str, int] = make_optional()
    """Rows of each table after it."""
    undo_until: str | None = make_optional()
    waited_ms: int | None = make_optional()
    """How long the app's sessions waited."""
    pending: list[str] = make_optional(())
    """Migrations that the backup does not have."""
    before: str | None = make_optional()
    """With `tables`: the backup of what was before."""


class DbRestoreResult(Result):
    page: ClassVar = ResultPage(
        says="{message}",
        facts=(
            Fact("lost", "details.lost"),
            Fact("pending", "details.pending"),
            Fact("before", "details.before"),
            Fact("undo until", "details.undoUntil", "time"),
        ),
        rows="tables",
        columns=(Column("table", "name"), Column("now", right=True), Column("backup", right=True)),
    )
    success: bool
    message: str
    tables: list[DbRestoreTable] = Field(default_factory=list)
    """With `plan`."""
    details: DbRestoreDetails
    next: Next | None = None


async def find_losses(call: Call, request: DbRestoreRequest) -> Loss | None:
    """The undo copy of an earlier restore, which this one replaces; what is live now stays as the copy."""
    if (
        request.plan
        or request.undo
        or request.tables
        or (request.time is not None and not call.platform.point_in_time.is_on)
    ):
        return None
    _require_word(call, request)
    app = _find_target(call, request)
    copy = await call.platform.databases.find_undo(app.name)
    kept = ("the database as it is now, as the undo copy for a week", *call.list_kept_of_database(app))
    if request.foreign:
        what = f"Let {request.backup_name}, which this server has not made, run as {app.name}, and be its database."
        return Loss(what, ("the say over what it runs", *([] if copy is None else [str(copy)])), kept)
    if copy is None:
        return None
    what = request.backup_name or f"the state of {request.time}"
    return Loss(f"Restore {what} over the database of {app.name}.", (str(copy),), kept)


@capability("db.restore", role=Role.BUILDER, effect=Effect.CHANGES, loses=find_losses, undo="db.restore")
@listed(
    "database",
    "db-restore",
    "Bring the database back to a backup, or to a time.",
    optional=("backupName",),
    not_over_mcp=("foreign",),
)
async def restore(call: Call, request: DbRestoreRequest) -> DbRestoreResult:
    """Let the database or `tables` equal a backup, or be as at a `time`. `undo` swaps back; `plan` tells."""
    _require_word(call, request)
    app = _find_target(call, request)
    await own_database.require(app, call.platform.validator.resolve_model)
    if request.undo:
        done = await call.platform.restorations.undo(app, call.progress)
        return await _tell(call, app, done, f"The database of {app.name} is as it was before the restore.")
    if request.time is not None:
        return await _go_back(call, app, request.time, request)
    assert request.backup_name is not None
    if request.foreign:
        return await _restore_foreign(call, app, request.backup_name)
    await call.platform.backup_return.ensure(request.app_name, request.backup_name, call.progress)
    manifest = await asyncio.to_thread(_find_manifest, call, request.app_name, request.backup_name)
    if request.tables is not None:
        return await _restore_tables(call, app, manifest, request)
    if request.plan:
        return await _compare(call, app, manifest)
    done = await call.platform.restorations.restore(app, manifest, call.progress)
    said = f"The database of {app.name} equals {manifest.name} of {manifest.created_at}."
    return await _tell(call, app, done, said)


def _require_word(call: Call, request: DbRestoreRequest) -> None:
    if request.foreign and call.role < Role.ADMIN:
        raise RoleTooLow(f"`foreign` needs the role {Role.ADMIN}; the call has {call.role}.")


async def _restore_foreign(call: Call, app: App, name: AnyBackupName) -> DbRestoreResult:
    found = await asyncio.to_thread(find_foreign, call.platform.backups.root, name)
    done = await call.platform.restorations.restore_foreign(
        app, name, found.path, call.progress, size=found.size, told=found.told
    )
    compared = "as its own manifest says" if found.told is not None else "whole; no manifest says what it should be"
    said = f"The database of {app.name} is what {name} brought, which this server has not made: {compared}."
    return await _tell(call, app, done, said)


def _find_manifest(call: Call, app: AppName, name: AnyBackupName) -> BackupManifest:
    if name.endswith(DUMP_ENDINGS):
        return call.platform.backups.find(app, BackupName(name))
    kept = call.platform.app_backups
    return kept.describe_database(kept.find(app, AppBackupName(name)))


def _find_target(call: Call, request: DbRestoreRequest) -> App:
    call.caller.check_app(request.locked)
    return call.find_app(request.locked)


async def _go_back(call: Call, app: App, time: EntryTime, request: DbRestoreRequest) -> DbRestoreResult:
    back, said = call.platform.point_in_time, f"`backup` is the state of {time}."
    if request.tables is not None:
        if request.plan:
            there = await back.compare_tables(app, time, request.tables, call.progress)
            return _show(there, said, _BEFORE)
        put_back = await back.restore_tables(app, time, request.tables, call.progress)
        return _tell_tables(app, put_back, f"As at {time}")
    if request.plan:
        return _show(await back.compare(app, time, call.progress), said)
    done = await back.restore(app, time, call.progress)
    return await _tell(call, app, done, f"The database of {app.name} is as it was at {time}.")


async def _restore_tables(call: Call, app: App, manifest: BackupManifest, request: DbRestoreRequest) -> DbRestoreResult:
    assert request.tables is not None
    if request.plan:
        compared = await call.platform.table_restorer.compare(app, manifest, request.tables, call.progress)
        return _show(compared, f"{manifest.name} is of {manifest.created_at}.", _BEFORE)
    done = await call.platform.table_restorer.restore(app, manifest, request.tables, call.progress)
    return _tell_tables(app, done, f"As in {manifest.name} of {manifest.created_at}")


def _tell_tables(app: App, done: RestoredAppTables, said: str) -> DbRestoreResult:
    names = ", ".join(quote_name(name) for name in done.rows)
    details = DbRestoreDetails(rows=dict(done.rows), waited_ms=round(done.waited * 1000), before=done.before)
    message = (
        f"{said}: {names}. All else of {app.name} is as it was."
        f" {done.before} holds what was before: db.restore with it and the same tables brings that back."
    )
    return DbRestoreResult(success=True, message=message, details=details, next=Next("db.status"))


async def _compare(call: Call, app: App, manifest: BackupManifest) -> DbRestoreResult:
    compared = await call.platform.restorations.compare(app, manifest)
    return _show(compared, f"{manifest.name} is of {manifest.created_at}.")


def _show(compared: Sequence[TableComparison], said: str, kept: str = "the undo copy for a week") -> DbRestoreResult:
    lost = list_losses(compared)
    tables = [DbRestoreTable(name=item.name, now=item.now, backup=item.backup) for item in compared]
    loses = "No table has more rows now." if not lost else f"What is lost stays in {kept}."
    message = f"Nothing was changed. {said} {loses}"
    return DbRestoreResult(success=True, message=message, tables=tables, details=DbRestoreDetails(lost=lost))


async def _tell(call: Call, app: App, done: RestoredDatabase, said: str) -> DbRestoreResult:
    try:
        pending = [item.name for item in await call.platform.migrator.list_pending(app)]
        more = " deploy.up applies the migrations that it does not have." if pending else ""
    except DatabasesUnavailable as error:  # it is done, and no later failure may say otherwise
        pending, more = [], f" Which migrations it does not have is not known: {error.message}"
    details = DbRestoreDetails(
        rows=dict(done.tables), undo_until=done.undo.until, waited_ms=round(done.waited * 1000), pending=pending
    )
    message = f"{said}{more} For a week db.restore with undo swaps back."
    return DbRestoreResult(success=True, message=message, details=details, next=Next("db.status"))
