"""The consent that a call needs before it acts: of another key, or of the person at the door.

A key that needs approval gets it from another key. Everybody else is asked only where something is lost for good, and
only at a door that can put it before a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ikoma.errors import Declined
from ikoma.kernel.access import controls
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.confirmations import Confirmations
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.kernel.registry import Capability, Loss


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """A call that may need consent. `arguments` are masked; `asks` is whether its door can ask a person."""

    caller: Caller
    capability: Capability
    digest: str
    app: str | None
    arguments: dict[str, Any]
    confirmation: str | None
    asks: bool
    find_loss: Callable[[], Awaitable[Loss | None]]
    """Looks at what the call would lose for good."""


class Consent:
    """Lets a call go on, or refuses it with what would let it."""

    def __init__(self, approvals: Approvals, callers: Callers, scrubber: Scrubber) -> None:
        self._approvals = approvals
        self._callers = callers
        self._scrubber = scrubber
        self._confirmations = Confirmations()

    async def check(self, request: ConsentRequest, *, take: bool) -> None:
        """Go on only with the consent that this call needs.

        Args:
            take: whether that uses it up: at the last moment, so that a call that finds the app busy costs none.
        """
        caller, capability = request.caller, request.capability
        if caller.needs_approval and (capability.needs_approval or capability.loses is not None):
            await self._approve(request, take)
        elif capability.loses is not None:
            await self._confirm(request, take)

    async def _approve(self, request: ConsentRequest, take: bool) -> None:
        """Go on with the consent of another key, or where this call needs none after all."""
        caller, capability = request.caller, request.capability
        if await self._approvals.change(
            partial(
                self._approvals.allows,
                caller,
                capability.name,
                request.digest,
                has_ended=self._callers.has_ended,
                take=take,
            )
        ):
            return
        loss = await request.find_loss()
        if loss is None and not capability.needs_approval:
            return
        summary = f"Call {capability.name}." if loss is None else _join_loss(loss)
        raise await self._approvals.change(
            partial(
                self._approvals.ask,
                caller,
                capability.name,
                request.digest,
                app=request.app,
                arguments=request.arguments,
                summary=self._scrubber.scrub_own(summary, request.app, caller.apps),
            )
        )

    async def _confirm(self, request: ConsentRequest, take: bool) -> None:
        """Go on only with a person's word, where the door puts what is lost for good before one."""
        capability, caller, token = request.capability, request.caller.id, request.confirmation
        if token == controls.DECLINED:
            raise Declined
        if token is not None:
            self._confirmations.check(token, caller, capability.name, request.digest, take=take)
        elif request.asks and (loss := await request.find_loss()) is not None:
            raise self._confirmations.ask(caller, capability.name, request.digest, loss)


def _join_loss(loss: Loss) -> str:
    """A loss as one sentence, for whoever decides on it later."""
    return f"{loss.summary.removesuffix('.')}: {'; '.join(loss.lost)}" if loss.lost else loss.summary
