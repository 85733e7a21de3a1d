"""apps.run: a command in a container of its own, on the code and the data of the release that serves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ikoma.apps.rollouts.like import find_like
from ikoma.capabilities.context import Call
from ikoma.compose.roles.release_command import explain_bad_command
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, Role
from ikoma.ports.rollout import CommandOutput


class AppsRunRequest(AppRequest):
    service: str | None = Field(default=None, max_length=63)
    """Default: the one that answers."""
    command: list[str] = Field(examples=[["ls"]])
    """Program and arguments, no shell."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds."""

    @field_validator("command")
    @classmethod
    def can_be_started(cls, command: list[str]) -> list[str]:
        if problem := explain_bad_command(command):
            raise ValueError(problem)
        return command


class AppsRunResult(Result):
    exit_code: int
    lines: Annotated[list[str], Untrusted("output of a command")]
    """Lines it said, both streams: the last thousand."""
    count: int
    """How many lines there were."""
    service: str
    release: str


@capability(
    "apps.run",
    role=Role.BUILDER,
    effect=Effect.CHANGES,
    rare=True,
    harmless="nobody can tell before what a command of the app does to its data",
)
@listed(
    "deploy",
    "run",
    "Run a command once on an app's code and data.",
    by_hand=True,
    text_alone=True,
    not_in_text=("exitCode",),
    says=lambda fields: f"Exit code {fields.get('exitCode')}.",
)
async def run(call: Call, request: AppsRunRequest) -> AppsRunResult:
    """Run a command once, in a container of its own like the service's; its exit code and output."""
    app = call.find_app(request.app_name)
    release = await call.platform.deployer.allow_command(app)
    like = await find_like(call.platform.runtime, app, release, request.service)
    output = CommandOutput()
    code = await call.platform.runtime.run_once(
        app,
        like,
        request.command,
        timeout=request.timeout,
        progress=call.progress,
        output=output,
    )
    return AppsRunResult(
        exit_code=code, lines=output.lines, count=output.count, service=like.service, release=release.id
    )
