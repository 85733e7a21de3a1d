"""deploy.up: bring an app's files into service."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from ikoma.apps.database.proof import prove_after_change
from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.observation.runbook import write_runbook
from ikoma.capabilities.context import Call
from ikoma.compose.variable_names import VariableName
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, Sensitive, Untrusted, capability, listed
from ikoma.model import Effect, Role


def check_variables(env: dict[str, str]) -> dict[str, str]:
    """Refuse names that no environment variable can have, and values that no process can be given."""
    for name, value in env.items():
        try:
            VariableName.parse(name)
        except ValueError as error:
            raise ValueError(f"{name[:40]!r} is no name of an environment variable: {error}") from None
        if "\0" in value:
            raise ValueError(f"the value of {name} holds a NUL character")
    return env


MoreVariables = Annotated[dict[str, str], Sensitive("environment variables"), AfterValidator(check_variables)]
"""Variables of a release beside those of `.env`: name → value."""


class DeployUpRequest(AppRequest):
    env: MoreVariables = Field(default_factory=dict)
    """More variables."""
    plan: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """From deploy.plan; refused if anything changed since."""
    reason: str = Field(default="", max_length=500)
    """Why."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until all must be healthy."""


class DeployUpDetails(Result):
    release: str
    services: list[str]
    replaced: list[str]
    """Services that have new containers."""
    downtime_ms: int
    drain_ms: int
    """How long requests to the old containers were waited for."""
    migrations: list[str]
    """Migrations applied."""
    backup: str | None
    """The backup that was made before them, and proven once the release served."""
    warnings: Annotated[list[str], Untrusted("findings", ours=True)]
    urls: list[str]


class DeployUpResult(Result):
    success: bool
    message: str
    details: DeployUpDetails
    next: Next | None = Next("artifact.verify_release")


@capability("deploy.up", role=Role.OPERATOR, effect=Effect.CHANGES, open_world=True, undo="deploy.rollback")
@listed("deploy", "deploy", "Deploy an app and wait until it is healthy.")
async def up(call: Call, request: DeployUpRequest) -> DeployUpResult:
    """Deploy an app from its folder: build, pull, migrate, start beside what serves, switch when all is healthy.

    On failure what served goes on, and the error says why.

    Use it after apps.validate. Next: artifact.verify_release, or apps.logs.
    """
    app = call.find_app(request.app_name)
    platform = call.platform
    with call.step("validate"):
        report = await platform.validator.examine(app, images=False)
        model = report.refuse_errors()
        if request.plan is not None:
            await platform.planner.require(app, report, request.plan)
    options = DeployOptions(call.caller.name, request.timeout, call.progress, request.reason)
    release, rolled = await platform.deployer.deploy(
        app,
        model,
        options,
        variables=report.variables,
        env=request.env,
        texts=report.texts,
        migrations=report.migrations,
    )
    unproven = await prove_after_change(platform.databases, platform.backups, app, release.backup, call.progress)
    unwritten = await write_runbook(app, platform.health, platform.backups, platform.settings)
    return DeployUpResult(
        success=True,
        message=f"{app.name} serves release {release.id}.{rolled.rest}",
        details=DeployUpDetails(
            release=release.id,
            services=list(rolled.services),
            replaced=list(rolled.replaced),
            downtime_ms=rolled.downtime_ms,
            drain_ms=rolled.drain_ms,
            migrations=list(release.applied),
            backup=release.backup,
            warnings=[*map(str, report.warnings), *unproven, *unwritten],
            urls=list(platform.routes.list_urls(app, release)),
        ),
    )
