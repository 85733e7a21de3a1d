"""keys.rotate: a new key for the same holder."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.keys.create import SHOWN_ONCE
from ikoma.kernel.access.reach import describe_reach
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import Loss, Request, Result, Sensitive, capability, listed
from ikoma.model import Effect, Role


class KeysRotateRequest(Request):
    id: str
    overlap: int = Field(default=3600, ge=0, le=30 * 86400)
    """Seconds the former key still works."""


class KeysRotateResult(Result):
    page: ClassVar = ResultPage(
        says="{name} has a new key.",
        facts=(Fact("ID", "id"), Fact("reaches"), Fact("key"), Fact("the former ends", "previousUntil", "time")),
        warning=SHOWN_ONCE,
    )
    id: str
    key: Annotated[str, Sensitive("API key")]
    """Shown this once."""
    name: str
    reaches: str
    """Which apps and what of them, in words."""
    previous_until: str


async def find_losses(call: Call, request: KeysRotateRequest) -> Loss:
    """The key that ends, and when."""
    holder = call.platform.callers.find(request.id)
    call.caller.check_covers(holder)
    when = f"{_word_seconds(request.overlap)} from then" if request.overlap else "at once"
    return Loss(f"Make a new key for {holder.name}.", (f"the key that {holder.name} has now: it ends {when}",))


def _word_seconds(seconds: int) -> str:
    for unit, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % unit == 0:
            return f"{seconds // unit} {word}{'' if seconds == unit else 's'}"
    return f"{seconds} seconds"


@capability("keys.rotate", role=Role.ADMIN, effect=Effect.DESTROYS, loses=find_losses, rare=True)
@listed("keys", "keys rotate", by_hand=True)
async def rotate(call: Call, request: KeysRotateRequest) -> KeysRotateResult:
    """Make a new key with the name, role and scope of an existing one. Both work for a while.

    Use it regularly, or with overlap 0 when a key leaked.
    """
    callers = call.platform.callers
    holder = callers.find(request.id)
    call.caller.check_covers(holder)
    key, until = await callers.change(partial(callers.rotate, request.id, overlap=request.overlap))
    reach = describe_reach(holder)
    return KeysRotateResult(id=request.id, key=key, name=holder.name, reaches=reach, previous_until=until)
