"""db.migrate: bring the app's database schema forward."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ikoma.app_folder import App
from ikoma.apps.database import migration_files, own_database
from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError, Next
from ikoma.kernel.registry import AppRequest, Loss, Result, Sensitive, Untrusted, capability, listed, make_optional
from ikoma.model import Effect, Role, SqlFileName, quote_name
from ikoma.ports.databases import Migration


class DbMigrateRequest(AppRequest):
    sql: Annotated[str | None, Sensitive("SQL")] = None
    """The text of one migration."""
    file: SqlFileName | None = None
    """One file in migrations/."""
    timeout: int = Field(default=600, ge=1, le=86_400)
    """Seconds one statement may take."""
    lock_timeout: int | None = Field(default=None, ge=1, le=3600)
    """Seconds to wait for a lock, four times; DB_LOCK_SECONDS."""
    dry_run: bool = False

    @model_validator(mode="after")
    def only_one(self) -> Self:
        if self.sql is not None and self.file is not None:
            raise ValueError("give sql or file, not both")
        return self


class DbMigrateRehearsal(Result):
    """The effects of one migration on the copy."""

    name: str
    milliseconds: int
    locks: Annotated[list[str], Untrusted("table names", ours=True)]
    """The strongest on each table that was there; nobody else was in the copy, so nothing had to wait."""
    rows: dict[str, int]
    """Rows that it wrote, changed or deleted, by table."""
    rewritten: Annotated[list[str], Untrusted("table names")]
    """Tables whose rows were all written anew."""


class DbMigrateResult(Result):
    success: bool
    message: Annotated[str, Untrusted("PostgreSQL's words", ours=True)]
    applied: list[str]
    """Names of the migrations applied now, in order."""
    rehearsed: list[DbMigrateRehearsal] = make_optional(())
    """With `dryRun`: those that went well on the copy."""
    next: Next | None = Next("deploy.up")


async def find_losses(call: Call, request: DbMigrateRequest) -> Loss | None:
    """The rows, columns and tables that would go, as far as the text of what is pending tells."""
    if request.dry_run:
        return None
    app = call.find_app(request.app_name)
    migrator = call.platform.migrator
    wanted = migration_files.select_pending(_choose_migrations(app, request), await migrator.read_ledger(app))
    lost = await migrator.count_sql_losses(app, wanted)
    names = ", ".join(quote_name(item.name) for item in wanted)
    return (
        Loss(f"Apply {names} to the database of {app.name}.", tuple(lost), call.list_kept_of_database(app))
        if lost
        else None
    )


@capability("db.migrate", role=Role.BUILDER, effect=Effect.CHANGES, loses=find_losses, takes_sql=True, idempotent=True)
@listed(
    "database",
    "migrate",
    "Apply pending migrations.",
    optional=("file",),
    well=("success", True),
    not_over_mcp=("lockTimeout",),
)
async def migrate(call: Call, request: DbMigrateRequest) -> DbMigrateResult:
    """Apply migrations as the app's own role: one given as text, one file, or all pending files in order.

    Each is one transaction. `dryRun` tries them on a copy.

    Next: deploy.up.
    """
    app = call.find_app(request.app_name)
    owned = await own_database.require(app, call.platform.validator.resolve_model)
    wanted = _choose_migrations(app, request)
    if request.dry_run:
        return await _rehearse(call, app, request, wanted)
    applied: list[str] = []
    for number, migration in enumerate(wanted):
        call.progress(f"migrate {migration.name}", number / len(wanted))
        try:
            if await call.platform.migrator.migrate(
                owned, migration, timeout=request.timeout, lock_timeout=request.lock_timeout
            ):
                applied.append(migration.name)
        except IkomaError as error:
            if request.sql is None:
                migration_files.lead_to_file(error, "migrations", [migration.name])
            if applied:
                error.details["migrationsApplied"] = applied
                error.hint = f"Applied before it, and staying so: {', '.join(map(quote_name, applied))}. {error.hint}"
            raise
    message = f"Applied {', '.join(map(quote_name, applied))}." if applied else "Nothing to apply."
    return DbMigrateResult(success=True, message=message, applied=applied)


async def _rehearse(call: Call, app: App, request: DbMigrateRequest, wanted: list[Migration]) -> DbMigrateResult:
    found = await call.platform.migrator.try_on_copy(app, wanted, call.progress, timeout=request.timeout)
    names = ", ".join(quote_name(item.name) for item in found.done)
    said = f"On a copy of the database {names} went well." if names else "There was nothing to apply."
    if (error := found.failed) is not None:
        went = f"{names} went well, then " if names else ""
        said = f"On a copy of the database {went}this failed: {error.message} {error.hint}"
    return DbMigrateResult(
        success=found.failed is None,
        message=f"{said} Nothing was changed.",
        applied=[],
        rehearsed=[
            DbMigrateRehearsal(
                name=item.name,
                milliseconds=round(item.seconds * 1000),
                locks=list(item.locks),
                rows=dict(item.rows),
                rewritten=list(item.rewritten),
            )
            for item in found.done
        ],
        next=_lead(request) if found.failed is None else Next("files.list", {"path": "migrations"}),
    )


def _lead(request: DbMigrateRequest) -> Next:
    """All that is pending was tried, so a deploy can apply it; a plan would only lead here again."""
    return Next("deploy.up") if request.sql is None and request.file is None else Next("deploy.plan")


def _choose_migrations(app: App, request: DbMigrateRequest) -> list[Migration]:
    if request.sql is not None:
        return [migration_files.make_migration(app, request.sql)]
    if request.file is not None:
        return [migration_files.find_migration(app, request.file)]
    # Applied ones are among them on purpose: one that was changed since is an error, not passed over.
    return migration_files.list_migrations(app)
