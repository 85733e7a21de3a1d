"""db.status: what is in the app's database."""

from __future__ import annotations

from ikoma.apps.database import credentials, migration_files
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class DbStatusMigrations(Result):
    applied: list[str]
    pending: list[str]


class DbStatusResult(Result):
    exists: bool
    name: str
    size: int
    tables: list[str]
    migrations: DbStatusMigrations


@capability("db.status", role=Role.OBSERVER, effect=Effect.READS)
@listed("database", "db-status", "Show the app's database and migrations.")
async def status(call: Call, request: AppRequest) -> DbStatusResult:
    """Whether the app has a database, its size in bytes, its tables, and which migrations are applied or pending.

    Use it to look before db.migrate or db.backup.
    """
    app = call.app(request.app_name)
    state = await call.platform.databases.read_state(app.name)
    owned = credentials.find(app)
    ledger = await call.platform.databases.read_ledger(owned) if owned and state.exists else []
    pending = migration_files.select_pending(migration_files.list_migrations(app), ledger)
    return DbStatusResult(
        exists=state.exists,
        name=state.name,
        size=state.size,
        tables=list(state.tables),
        migrations=DbStatusMigrations(
            applied=[entry.name for entry in ledger], pending=[item.name for item in pending]
        ),
    )
