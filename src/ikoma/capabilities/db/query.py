"""db.query: look at what is in the app's database."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ikoma.apps.database import own_database
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Sensitive, Untrusted, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class DbQueryRequest(AppRequest):
    sql: Annotated[str, Sensitive("SQL")]
    """One SELECT, VALUES, TABLE, WITH, EXPLAIN or SHOW."""
    limit: int = Field(default=100, ge=1, le=10_000)
    """The most rows."""
    timeout: int = Field(default=10, ge=1, le=60)
    """Seconds."""


_KINDS = ("null", "boolean", "number", "string", "array", "object")
Value = Annotated[Any, WithJsonSchema({"anyOf": [{"type": kind} for kind in _KINDS]})]


class DbQueryResult(Result):
    columns: Annotated[list[str], Untrusted("database columns")]
    types: list[str]
    """PostgreSQL's type of each column."""
    rows: Annotated[list[list[Value]], Untrusted("database rows")]
    """Values in the order of columns; what JSON cannot say (numeric, dates, bytea, arrays) as psql shows it."""
    row_count: int
    truncated: bool
    """True when there is more than limit, or than 1 MiB."""


@capability("db.query", role=Role.OPERATOR, effect=Effect.READS, takes_sql=True)
@listed(
    "database",
    "query",
    "Read the app's database with one SQL statement.",
    says_more=True,
    says=count_field("rows", "row"),
)
async def query(call: Call, request: DbQueryRequest) -> DbQueryResult:
    """Read the app's database with one SQL statement, as the app's own role.

    Use it to look at rows or plans; db.migrate and db.seed write.
    """
    app = call.find_app(request.app_name)
    owned = await own_database.require(app, call.platform.validator.resolve_model)
    found = await call.platform.databases.query(owned, request.sql, limit=request.limit, timeout=request.timeout)
    return DbQueryResult(
        columns=list(found.columns),
        types=list(found.types),
        rows=[list(row) for row in found.rows],
        row_count=len(found.rows),
        truncated=found.truncated,
    )
