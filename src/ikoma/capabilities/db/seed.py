"""db.seed: put first rows into the app's database."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ikoma.app_folder import App
from ikoma.apps.database import migration_files, own_database
from ikoma.capabilities.context import Call
from ikoma.errors import FileMissing, SqlFailed
from ikoma.kernel.registry import AppRequest, Loss, Result, Sensitive, capability, listed
from ikoma.model import Effect, Role, SqlFileName, quote_name
from ikoma.ports.databases import Migration


class DbSeedRequest(AppRequest):
    sql: Annotated[str | None, Sensitive("SQL")] = None
    file: SqlFileName | None = None
    """One file in seeds/."""
    timeout: int = Field(default=600, ge=1, le=86_400)
    """Seconds one statement may take."""

    @model_validator(mode="after")
    def only_one(self) -> Self:
        if self.sql is not None and self.file is not None:
            raise ValueError("give sql or file, not both")
        return self


class DbSeedResult(Result):
    success: bool
    message: str


async def find_losses(call: Call, request: DbSeedRequest) -> Loss | None:
    """The rows, columns and tables that would go, as far as the text tells."""
    app = call.find_app(request.app_name)
    wanted = _choose_seeds(app, request)
    lost = await call.platform.migrator.count_sql_losses(app, wanted)
    names = ", ".join(quote_name(item.name) for item in wanted) if request.sql is None else "the given SQL"
    return (
        Loss(f"Run {names} in the database of {app.name}.", tuple(lost), call.list_kept_of_database(app))
        if lost
        else None
    )


@capability("db.seed", role=Role.BUILDER, effect=Effect.CHANGES, loses=find_losses, takes_sql=True)
@listed("database", "seed", "Run the app's seed files.", optional=("file",))
async def seed(call: Call, request: DbSeedRequest) -> DbSeedResult:
    """Run seed SQL as the app's own role: given as text, one file of seeds/, or all in order.

    They are not remembered: running them twice must do no harm.

    Use it for first data, after db.migrate.
    """
    app = call.find_app(request.app_name)
    owned = await own_database.require(app, call.platform.validator.resolve_model)
    wanted = _choose_seeds(app, request)
    for number, item in enumerate(wanted):
        call.progress(f"seed {item.name}", number / len(wanted))
        try:
            await call.platform.databases.run_sql(owned, item.name, item.sql, timeout=request.timeout)
        except SqlFailed as error:
            if request.sql is None:
                migration_files.lead_to_file(error, "seeds", [item.name])
            raise
    return DbSeedResult(success=True, message=f"Ran {', '.join(quote_name(item.name) for item in wanted)}.")


def _choose_seeds(app: App, request: DbSeedRequest) -> list[Migration]:
    if request.sql is not None:
        return [Migration.of("sql", request.sql)]
    if request.file is not None:
        return [migration_files.find_seed(app, request.file)]
    found = migration_files.list_seeds(app)
    if not found:
        raise FileMissing(f"{app.name} has no files in seeds/.", hint="Put a .sql file there, or send sql.")
    return found
