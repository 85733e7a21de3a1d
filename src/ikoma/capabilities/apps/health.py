"""apps.health: one word for how an app is, and what was looked at."""

from __future__ import annotations

from typing import Annotated

from ikoma.apps.observation.health import Observation
from ikoma.capabilities.apps.status import find_next
from ikoma.capabilities.context import Call
from ikoma.capabilities.sentences import say_health
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.model import Effect, Role


class Look(Result):
    passed: bool | None
    details: str


class AppsHealthResult(Result):
    health: str
    status: str
    details: dict[str, Look]
    answer: Annotated[str | None, Untrusted("the app's answer")] = make_optional()
    """The app's answer where its health path should say that all is well, and does not."""
    maintenance: bool = False
    """Whether people get a page that says so instead of the app."""
    next: Next | None = None


@capability("apps.health", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed(
    "look",
    "health",
    "Look at an app and say how it is.",
    well=("health", "healthy"),
    not_in_text=("health", "status"),
    says=say_health,
)
async def health(call: Call, request: AppRequest) -> AppsHealthResult:
    """Look at the app's containers, its HTTP health path and its database, and say how it is.

    Use it when something seems wrong. Next: apps.logs.
    """
    seen = await call.platform.health.observe(call.platform.apps.locate(request.app_name))
    if not seen.exists:
        call.find_app(request.app_name)  # says so, with the nearest name
    # All who share the look share what is made of it.
    return call.platform.turn.share("health", seen, (), lambda: _describe(seen))


def _describe(seen: Observation) -> AppsHealthResult:
    details = {name: Look(passed=check.passed, details=check.details) for name, check in seen.checks.items()}
    return AppsHealthResult(
        health=seen.health,
        status=seen.health,
        details=details,
        answer=next((check.answer for check in seen.checks.values() if check.answer), None),
        maintenance=seen.maintenance,
        next=find_next(seen.health, has_release=seen.release is not None),
    )
