"""db.create: the app's own database."""

from __future__ import annotations

from typing import ClassVar

from ikoma.apps.database import credentials, own_database
from ikoma.capabilities.context import Call
from ikoma.errors import DatabaseForeign, Next
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class DbCreateResult(Result):
    page: ClassVar = ResultPage(
        says="The database is there.",
        facts=(Fact("database", "name"), Fact("role"), Fact("size", kind="size"), Fact("tables", empty="none")),
    )
    exists: bool
    name: str
    size: int
    tables: list[str]
    role: str
    warnings: list[str]
    """Services that keep a database of their own, and how they would use this one."""
    next: Next | None = Next("db.migrate")


@capability(
    "db.create",
    role=Role.BUILDER,
    effect=Effect.CHANGES,
    idempotent=True,
    harmless="it adds what is missing, and touches nothing that is there",
)
@listed(
    "database",
    "db-create",
    "Create the app's database.",
    says=lambda fields: f"The database {fields.get('name')} is there.",
)
async def create(call: Call, request: AppRequest) -> DbCreateResult:
    """Create the app's database, with a login role that reaches no other.

    Containers get DATABASE_URL, PG* and POSTGRES_* at the next deploy.

    Use it once. Next: db.migrate, then deploy.up.
    """
    app = call.find_app(request.app_name)
    had_one = credentials.find(app) is not None
    owned = credentials.obtain(app)
    try:
        await call.platform.databases.create(app.name, owned.password)
    except DatabaseForeign:
        if not had_one:
            credentials.forget(app)
        raise
    state = await call.platform.databases.read_state(app.name)
    return DbCreateResult(
        exists=state.exists,
        name=state.name,
        size=state.size,
        tables=list(state.tables),
        role=owned.role,
        warnings=own_database.explain_create(
            await call.platform.validator.resolve_model(app),
            (await call.platform.resolutions.reader.read_env(app)).values,
        ),
    )
