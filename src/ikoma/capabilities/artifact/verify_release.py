"""artifact.verify_release: is the deployment good?"""

from __future__ import annotations

from dataclasses import asdict

from ikoma.apps.release import Releases
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Item(Result):
    name: str
    passed: bool
    required: bool
    details: str


class Verification(Result):
    verified: bool
    checks: list[Item]
    summary: str
    next: Next | None = None


@capability("artifact.verify_release", role=Role.OBSERVER, effect=Effect.READS)
async def verify_release(call: Call, request: AppRequest) -> Verification:
    """Answer the post-deployment checklist from facts, each looked at now; verified when all required ones pass.

    Use it after every deploy.
    """
    checks = await call.platform.verifier.verify(call.app(request.app_name))
    failed = [check.name for check in checks if check.required and not check.passed]
    passed = sum(check.passed for check in checks)
    summary = f"{passed} of {len(checks)} checks passed" + (f"; failed: {', '.join(failed)}." if failed else ".")
    if any(check.name == "maintenance" for check in checks):
        summary = f"In maintenance: people get a page instead of the app. {summary}"
    return Verification(
        verified=not failed,
        checks=[Item(**asdict(check)) for check in checks],
        summary=summary,
        next=_next(call, request) if failed else None,
    )


def _next(call: Call, request: AppRequest) -> Next:
    """Before anything is deployed there is nothing to look into."""
    return Next("apps.logs" if Releases(call.app(request.app_name)).current() else "apps.validate")
