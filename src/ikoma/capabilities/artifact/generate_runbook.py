"""artifact.generate_runbook: the runbook of this very app."""

from __future__ import annotations

from ikoma.apps.runbook import write_runbook
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Runbook(Result):
    app_name: str
    markdown: str
    path: str


# It reads: the file is IKOMA's own account of what it saw, and nothing runs differently for it.
@capability("artifact.generate_runbook", role=Role.OBSERVER, effect=Effect.READS, rare=True)
async def generate_runbook(call: Call, request: AppRequest) -> Runbook:
    """Write a Markdown runbook of the app into its folder, from how it is now, and return it.

    Use it to tell a person how to operate the app.
    """
    platform = call.platform
    app = call.app(request.app_name)
    markdown, path = await write_runbook(app, platform.health, platform.backups, platform.settings)
    return Runbook(app_name=app.name, markdown=markdown, path=str(path))
