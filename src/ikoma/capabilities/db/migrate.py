"""db.migrate: bring the app's database schema forward."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ikoma.app_folder import App
from ikoma.apps.database import migration_files, own_database
from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError, Next
from ikoma.kernel.registry import AppRequest, Loss, Result, Sensitive, capability, listed
from ikoma.model import Effect, Role, SqlFileName, quote_name
from ikoma.ports.databases import Migration


class DbMigrateRequest(AppRequest):
    sql: Annotated[str | None, Sensitive("SQL")] = None
    """The text of one migration."""
    file: SqlFileName | None = None
    """One file in migrations/."""
    timeout: int = Field(default=600, ge=1, le=86_400)
    """Seconds one statement may take."""
    lock_timeout: int = Field(default=10, ge=1, le=3600)
    """Seconds to wait for a lock."""

    @model_validator(mode="after")
    def only_one(self) -> Self:
        if self.sql is not None and self.file is not None:
            raise ValueError("give sql or file, not both")
        return self


class DbMigrateResult(Result):
    success: bool
    message: str
    applied: list[str]
    """Names of the migrations applied now, in order."""
    next: Next | None = Next("deploy.up")


async def losses(call: Call, request: DbMigrateRequest) -> Loss | None:
    """The rows, columns and tables that would go, as far as the text of what is pending tells."""
    app = call.app(request.app_name)
    migrator = call.platform.migrator
    wanted = migration_files.select_pending(_wanted(app, request), await migrator.read_ledger(app))
    lost = await migrator.count_sql_losses(app, wanted)
    names = ", ".join(quote_name(item.name) for item in wanted)
    return (
        Loss(f"Apply {names} to the database of {app.name}.", tuple(lost), call.kept_of_database(app)) if lost else None
    )


@capability("db.migrate", role=Role.BUILDER, effect=Effect.CHANGES, loses=losses, takes_sql=True, idempotent=True)
@listed("database", "migrate", "Apply pending migrations.", optional=("file",))
async def migrate(call: Call, request: DbMigrateRequest) -> DbMigrateResult:
    """Apply migrations as the app's own role: one given as text, one file, or all pending files in order.

    Each is one transaction; applied ones are passed over.

    Use it after writing a migration. Next: deploy.up.
    """
    app = call.app(request.app_name)
    owned = await own_database.require(app, call.platform.validator.model)
    applied: list[str] = []
    wanted = _wanted(app, request)
    for number, migration in enumerate(wanted):
        call.progress(f"migrate {migration.name}", number / len(wanted))
        try:
            if await call.platform.databases.migrate(
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


def _wanted(app: App, request: DbMigrateRequest) -> list[Migration]:
    if request.sql is not None:
        return [migration_files.make_migration(app, request.sql)]
    if request.file is not None:
        return [migration_files.find_migration(app, request.file)]
    # Applied ones are among them on purpose: one that was changed since is an error, not passed over.
    return migration_files.list_migrations(app)
