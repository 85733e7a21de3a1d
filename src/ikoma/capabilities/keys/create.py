"""keys.create: a key for someone else."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from ikoma.capabilities.context import Call
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.reach import describe_reach
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import Request, Result, Sensitive, capability, listed
from ikoma.model import Effect, Role
from ikoma.moments import FutureTime

Glob = Annotated[str, Field(min_length=1, max_length=200)]


class KeysCreateRequest(Request):
    name: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Owner."""
    role: str
    """The highest: observer, operator, builder or admin."""
    apps: list[Glob] = Field(default_factory=list, max_length=100, examples=[["shop", "blog-*"]])
    """Globs; left out: all apps."""
    capabilities: list[Glob] = Field(default_factory=list, max_length=100, examples=[["db.*"]])
    """Globs; left out: all of its role."""
    read_only: bool = False
    needs_approval: bool = False
    """Another admin key must approve what destroys."""
    rate: int | None = Field(default=None, ge=1, le=1_000_000)
    """Calls per window."""
    expires: FutureTime | None = None
    """ISO 8601 time of its end."""

    @field_validator("apps", "capabilities", mode="after")
    @classmethod
    def is_no_empty_list(cls, globs: list[str]) -> list[str]:
        """Nobody is to get everything where nothing was written: that is said by leaving the list out."""
        if not globs:
            raise ValueError('is an empty list; name some, "*" for all, or leave it out for all')
        return globs

    @field_validator("role")
    @classmethod
    def is_a_role(cls, role: str) -> str:
        return str(Role.parse(role))


SHOWN_ONCE = "The key is shown this once, and kept nowhere: copy it now."


class KeysCreateResult(Result):
    page: ClassVar = ResultPage(
        says="A key for {name} is made.",
        facts=(Fact("ID", "id"), Fact("name"), Fact("role"), Fact("reaches"), Fact("key")),
        warning=SHOWN_ONCE,
    )
    id: str
    key: Annotated[str, Sensitive("API key")]
    """Shown this once."""
    name: str
    role: str
    apps: list[str]
    """Globs; none: all apps."""
    capabilities: list[str]
    reaches: str
    """Which apps and what of them, in words."""


@capability("keys.create", role=Role.ADMIN, effect=Effect.CHANGES, needs_approval=True, rare=True, undo="keys.revoke")
@listed("keys", "keys create", by_hand=True)
async def create(call: Call, request: KeysCreateRequest) -> KeysCreateResult:
    """Make an API key with a highest role, and optionally apps, capabilities and an end. It is shown once.

    Use it to let someone in with no more than they need.
    """
    role = Role.parse(request.role)
    holder = Caller(
        id="",
        name=request.name,
        role=role,
        apps=tuple(request.apps),
        capabilities=tuple(request.capabilities),
        read_only=request.read_only,
        expires_at=request.expires,
        needs_approval=request.needs_approval,
        rate=request.rate,
    )
    call.caller.check_covers(holder)
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
    return KeysCreateResult(
        id=identity,
        key=key,
        name=request.name,
        role=request.role,
        apps=request.apps,
        capabilities=request.capabilities,
        reaches=describe_reach(holder),
    )
