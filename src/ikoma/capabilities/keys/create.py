"""keys.create: a key for someone else."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from ikoma.capabilities.context import Call
from ikoma.kernel.access.callers import Caller
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import Request, Result, Sensitive, capability, listed
from ikoma.model import Effect, FutureTime, Role


class KeysCreateRequest(Request):
    name: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Whose key it is."""
    role: str
    """Its highest role: observer, operator, builder or admin."""
    apps: list[str] = Field(default_factory=list, max_length=100)
    """Globs; all when left out."""
    capabilities: list[str] = Field(default_factory=list, max_length=100)
    """Globs."""
    read_only: bool = False
    needs_approval: bool = False
    """Another admin key must approve what destroys."""
    rate: int | None = Field(default=None, ge=1, le=1_000_000)
    """Calls in a window of the rate limit."""
    expires: FutureTime | None = None
    """ISO 8601 time of its end."""

    @field_validator("role")
    @classmethod
    def is_a_role(cls, role: str) -> str:
        return str(Role.parse(role))


SHOWN_ONCE = "The key is shown this once, and kept nowhere: copy it now."


class KeysCreateResult(Result):
    page: ClassVar = ResultPage(
        says="A key for {name} is made.",
        facts=(Fact("ID", "id"), Fact("name"), Fact("role"), Fact("key")),
        warning=SHOWN_ONCE,
    )
    id: str
    key: Annotated[str, Sensitive("API key")]
    """Shown this once."""
    name: str
    role: str


@capability("keys.create", role=Role.ADMIN, effect=Effect.CHANGES, needs_approval=True, rare=True, undo="keys.revoke")
@listed("keys", "keys create", by_hand=True)
async def create(call: Call, request: KeysCreateRequest) -> KeysCreateResult:
    """Make an API key with a highest role, and optionally apps, capabilities and an end. It is shown once.

    Use it to let someone in with no more than they need.
    """
    role = Role.parse(request.role)
    call.caller.check_covers(
        Caller(
            id="",
            name=request.name,
            role=role,
            apps=tuple(request.apps),
            capabilities=tuple(request.capabilities),
            expires_at=request.expires,
            needs_approval=request.needs_approval,
            rate=request.rate,
        )
    )
    make = partial(
        call.platform.callers.create,
        request.name,
        role,
        apps=request.apps,
        capabilities=request.capabilities,
        read_only=request.read_only,
        expires_at=request.expires,
        needs_approval=request.needs_approval,
        rate=request.rate,
    )
    identity, key = await call.platform.callers.change(make)
    return KeysCreateResult(id=identity, key=key, name=request.name, role=request.role)
