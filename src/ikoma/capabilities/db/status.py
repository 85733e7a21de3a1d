"""db.status: what is in the app's database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from ikoma.apps.database import credentials, migration_files
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.kernel.sentences import Fields, count
from ikoma.model import Effect, Role


class DbStatusMigrations(Result):
    applied: list[str]
    pending: list[str]


class DbStatusUndo(Result):
    """The database as it was before db.restore; db.restore with `undo` swaps back."""

    before: Annotated[str, Untrusted("backup name", ours=True)]
    """Action taken then: `NAME was restored`, or `a restore was undone`."""
    replaced_at: str
    until: str
    """When it is dropped."""


class DbStatusPointInTime(Result):
    since: str | None
    """The earliest time that db.restore can go back to; null before there is a base backup."""
    until: str | None
    lag_seconds: float | None
    lag_bytes: int | None
    """Bytes of PostgreSQL's log not archived yet; null where nobody archives."""
    problem: str | None


class DbStatusResult(Result):
    exists: bool
    name: str
    size: int
    tables: list[str]
    migrations: DbStatusMigrations
    undo: DbStatusUndo | None = make_optional()
    """The copy from before a restore, where one is kept."""
    point_in_time: DbStatusPointInTime | None = make_optional()
    """Where it is set up."""


def _say_state(fields: Fields) -> str:
    if not fields.get("exists"):
        return "There is no database."
    migrations = fields.get("migrations") or {}
    applied, pending = (len(migrations.get(name) or []) for name in ("applied", "pending"))
    tables = count(len(fields.get("tables") or []), "table")
    return f"{tables}; {count(applied, 'migration')} applied, {pending} pending."


@capability("db.status", role=Role.OBSERVER, effect=Effect.READS)
@listed("database", "db-status", "Show the app's database and migrations.", not_in_text=("exists",), says=_say_state)
async def status(call: Call, request: AppRequest) -> DbStatusResult:
    """Whether the app has a database, its size in bytes, its tables, and which migrations are applied or pending.

    Use it to look before db.migrate or db.backup.
    """
    app = call.find_app(request.app_name)
    state = await call.platform.databases.read_state(app.name)
    owned = credentials.find(app)
    ledger = await call.platform.databases.read_ledger(owned) if owned and state.exists else []
    copy = await call.platform.databases.find_undo(app.name) if state.exists else None
    pending = migration_files.select_pending(migration_files.list_migrations(app), ledger)
    window = await call.platform.point_in_time.read_window()
    return DbStatusResult(
        exists=state.exists,
        name=state.name,
        size=state.size,
        tables=list(state.tables),
        migrations=DbStatusMigrations(
            applied=[entry.name for entry in ledger], pending=[item.name for item in pending]
        ),
        undo=DbStatusUndo(before=copy.occasion, replaced_at=copy.replaced_at, until=copy.until) if copy else None,
        point_in_time=None if window is None else DbStatusPointInTime(**asdict(window)),
    )
