"""apps.validate: can this app be deployed as it stands?"""

from __future__ import annotations

from dataclasses import asdict

from ikoma.apps.validation.finding import Finding
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.sentences import Fields, count
from ikoma.model import Effect, Role


class AppsValidateFound(Result):
    file: str
    line: int | None
    problem: str
    fix: str
    rule: str | None
    """The rule of the policy that this breaks."""
    place: str | None
    """Where in the compose file, such as services.web.ports.0."""


class AppsValidateFolder(Result):
    path: str
    kind: str
    """source (a copy is the release's) or data (mounted from where it is, and shared by all releases)."""
    reason: str


class AppsValidateWaived(Result):
    id: str
    rule: str
    reason: str
    caller: str
    expires_at: str


class AppsValidateResult(Result):
    valid: bool
    errors: list[AppsValidateFound]
    warnings: list[AppsValidateFound]
    folders: list[AppsValidateFolder]
    """Folders it mounts and builds from."""
    waivers: list[AppsValidateWaived]
    """Rules that an admin has waived for this app, and until when."""
    next: Next | None = None


def _say_validity(fields: Fields) -> str:
    problems = count(len(fields.get("errors") or []), "error")
    warnings = count(len(fields.get("warnings") or []), "warning")
    return f"{'Valid' if fields.get('valid') else 'Not valid'}: {problems}, {warnings}."


@capability("apps.validate", role=Role.OBSERVER, effect=Effect.READS, open_world=True)
@listed(
    "start",
    "validate",
    "Check an app before it is deployed.",
    well=("valid", True),
    not_in_text=("valid", "folders"),
    says=_say_validity,
)
async def validate(call: Call, request: AppRequest) -> AppsValidateResult:
    """Check an app before it is deployed: every problem with file, line and fix.

    Use it before every deploy.
    """
    report = await call.platform.validator.examine(call.find_app(request.app_name))
    return AppsValidateResult(
        valid=not report.errors,
        errors=_show_findings(report.errors),
        warnings=_show_findings(report.warnings),
        folders=[AppsValidateFolder.model_validate(item, from_attributes=True) for item in report.kinds],
        next=_choose_next(report.errors),
        waivers=[AppsValidateWaived.model_validate(waiver, from_attributes=True) for waiver in report.waivers],
    )


def _choose_next(errors: list[Finding]) -> Next | None:
    """The deploy; or a look at the file of the first error, whose fix says what to write there."""
    if not errors:
        return Next("deploy.up")
    return Next("env.list") if errors[0].file == ".env" else Next("files.read", {"path": errors[0].file})


def _show_findings(findings: list[Finding]) -> list[AppsValidateFound]:
    return [AppsValidateFound(**asdict(finding)) for finding in findings]
