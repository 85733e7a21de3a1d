"""artifact.generate_runbook: the runbook of this very app."""

from __future__ import annotations

from ikoma.apps.observation.runbook import render_runbook
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class ArtifactGenerateRunbookResult(Result):
    app_name: str
    markdown: str
    path: str


@capability("artifact.generate_runbook", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("look", "runbook", "Print the app's own runbook.", text_alone=True)
async def generate_runbook(call: Call, request: AppRequest) -> ArtifactGenerateRunbookResult:
    """A Markdown runbook of the app as it is now.

    Use it to tell a person how to operate the app.
    """
    platform = call.platform
    app = call.find_app(request.app_name)
    markdown = await render_runbook(app, platform.health, platform.backups, platform.settings)
    return ArtifactGenerateRunbookResult(app_name=app.name, markdown=markdown, path=str(app.runbook))
