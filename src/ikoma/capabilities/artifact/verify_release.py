"""artifact.verify_release: is the deployment good?"""

from __future__ import annotations

from collections.abc import Sequence

from ikoma.apps.observation.health import HEALTHY, STOPPED
from ikoma.apps.observation.verification import ChecklistItem
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class ArtifactVerifyReleaseItem(Result):
    name: str
    passed: bool
    required: bool
    details: str


class ArtifactVerifyReleaseResult(Result):
    verified: bool
    checks: list[ArtifactVerifyReleaseItem]
    summary: str
    next: Next | None = None


@capability("artifact.verify_release", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "look",
    "verify",
    "Answer the post-deployment checklist.",
    well=("verified", True),
    not_in_text=("summary", "verified"),
    says=lambda fields: f"{'Verified' if fields.get('verified') else 'Not verified'}: {fields.get('summary')}",
)
async def verify_release(call: Call, request: AppRequest) -> ArtifactVerifyReleaseResult:
    """Answer the post-deployment checklist from facts, each looked at now.

    Use it after every deploy.
    """
    checks = await call.platform.verifier.verify(call.find_app(request.app_name))
    failed = [check.name for check in checks if check.required and not check.passed]
    if failed:
        return _describe(checks, failed, await _choose_next(call, request, failed))
    # All who share the look share what is made of it.
    return call.platform.turn.share("verification", checks, (), lambda: _describe(checks, failed, None))


def _describe(
    checks: Sequence[ChecklistItem], failed: Sequence[str], following: Next | None
) -> ArtifactVerifyReleaseResult:
    passed = sum(check.passed for check in checks)
    summary = f"{passed} of {len(checks)} checks passed" + (f"; failed: {', '.join(failed)}." if failed else ".")
    if any(check.name == "maintenance" for check in checks):
        summary = f"In maintenance: people get a page instead of the app. {summary}"
    return ArtifactVerifyReleaseResult(
        verified=not failed,
        checks=[
            ArtifactVerifyReleaseItem(
                name=check.name, passed=check.passed, required=check.required, details=check.details
            )
            for check in checks
        ],
        summary=summary,
        next=following,
    )


async def _choose_next(call: Call, request: AppRequest, failed: list[str]) -> Next:
    """The call that shows or mends what failed; the logs tell of what runs, and of nothing else."""
    seen = await call.platform.health.observe(call.find_app(request.app_name))
    if seen.release is None:
        return Next("apps.validate")
    if seen.health == STOPPED:
        return Next("deploy.restart")
    if seen.health != HEALTHY:
        return Next("apps.logs")
    return Next("deploy.plan") if failed == ["migrations"] else Next("apps.validate")
