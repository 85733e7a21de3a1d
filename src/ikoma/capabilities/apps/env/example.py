"""apps.env.example: the text of a .env file for an app."""

from __future__ import annotations

import asyncio

from ikoma.apps.environment import dotenv
from ikoma.apps.yaml.reading import gather
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, Role


@capability("apps.env.example", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed(
    "variables",
    "env-example",
    "Print a .env file to start from.",
    text_alone=True,
    says=lambda _: "A .env file to start from:",
)
async def example(call: Call, request: AppRequest) -> str:
    """A .env file to start from: each variable of the compose file.

    Use it to see what to set before deploying. Next: env.set for what is empty.
    """
    app = call.find_app(request.app_name)
    gathered = await asyncio.to_thread(gather, app)
    return await asyncio.to_thread(dotenv.make_example, app, "\n".join(gathered.source.texts.values()))
