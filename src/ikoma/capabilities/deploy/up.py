"""deploy.up: bring an app's files into service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ikoma.apps import environment
from ikoma.apps.runbook import write_runbook
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability
from ikoma.model import Effect, Role


class Up(AppRequest):
    env: Annotated[dict[str, str], Sensitive("environment variables")] = Field(default_factory=dict)
    """Further variables for the containers of this release."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until every service must be healthy."""

    @field_validator("env")
    @classmethod
    def names_are_names(cls, env: dict[str, str]) -> dict[str, str]:
        if bad := environment.bad_names(env):
            raise ValueError(f"{bad[0][:40]!r} is no name of an environment variable")
        if any("\0" in value for value in env.values()):
            raise ValueError("a value holds a NUL character")
        return env


class Details(Result):
    release: str
    services: list[str]
    downtime_ms: int
    warnings: list[str]


class Deployed(Result):
    success: bool
    message: str
    details: Details


@capability("deploy.up", role=Role.OPERATOR, effect=Effect.CHANGES, open_world=True)
async def up(call: Call, request: Up) -> Deployed:
    """Deploy an app from its folder: build or pull, start, and wait until every service is healthy.

    On failure the error names the service, its exit code and its last log lines.

    Use it after apps.validate. Next: artifact.verify_release, or apps.logs when it failed.
    """
    app = call.app(request.app_name)
    with call.step("validate"):
        report = await call.platform.validator.examine(app, images=False)
        model = report.refuse_errors()
    release, deployed = await call.platform.deployments.deploy(
        app,
        model,
        env=request.env,
        caller=call.caller.name,
        timeout=request.timeout,
        progress=call.progress,
    )
    await write_runbook(app, call.platform.health, call.platform.backups, call.platform.settings)
    return Deployed(
        success=True,
        message=f"{app.name} serves release {release.id}.",
        details=Details(
            release=release.id,
            services=list(deployed.services),
            downtime_ms=deployed.downtime_ms,
            warnings=[str(finding) for finding in report.warnings],
        ),
    )
