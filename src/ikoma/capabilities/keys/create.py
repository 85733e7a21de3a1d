"""keys.create: a key for someone else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, field_validator

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Request, Result, Sensitive, capability
from ikoma.model import Effect, Role


class Create(Request):
    name: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Whose key it is; the audit log calls the caller by it."""
    role: str
    """observer, operator, builder or admin: the highest role this key may take."""
    apps: list[str] = Field(default_factory=list, max_length=100)
    """Globs of app names; all apps when left out."""
    capabilities: list[str] = Field(default_factory=list, max_length=100)
    """Globs of capabilities; all of the role when left out."""
    read_only: bool = False
    expires: str | None = None
    """When the key ends, as an ISO 8601 time; never when left out."""

    @field_validator("role")
    @classmethod
    def is_a_role(cls, role: str) -> str:
        return str(Role.parse(role))

    @field_validator("expires")
    @classmethod
    def is_a_time_to_come(cls, expires: str | None) -> str | None:
        if expires is None:
            return None
        when = datetime.fromisoformat(expires)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        if when <= datetime.now(UTC):
            raise ValueError("is in the past")
        return when.isoformat(timespec="seconds").replace("+00:00", "Z")


class Created(Result):
    id: str
    key: Annotated[str, Sensitive("API key")]
    """Shown this once."""
    name: str
    role: str


@capability("keys.create", role=Role.ADMIN, effect=Effect.CHANGES)
async def create(call: Call, request: Create) -> Created:
    """Make an API key with a highest role, and optionally apps, capabilities and an end. It is shown once.

    Use it to let someone else in with no more than they need. Hand the key over at once.
    """
    identity, key = call.platform.callers.create(
        request.name,
        Role.parse(request.role),
        apps=request.apps,
        capabilities=request.capabilities,
        read_only=request.read_only,
        expires_at=request.expires,
    )
    return Created(id=identity, key=key, name=request.name, role=request.role)
