"""policy.unwaive: end an exception."""

from __future__ import annotations

from functools import partial

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class PolicyUnwaiveRequest(AppRequest):
    id: str
    """As apps.validate shows it."""


class PolicyUnwaiveResult(Result):
    id: str
    message: str


@capability("policy.unwaive", role=Role.ADMIN, effect=Effect.CHANGES, rare=True, undo="policy.waive")
@listed("start", "unwaive", "End a waiver.")
async def unwaive(call: Call, request: PolicyUnwaiveRequest) -> PolicyUnwaiveResult:
    """End a waiver before its time. The next deploy is judged without it."""
    app = call.find_app(request.app_name)
    waivers = call.platform.waivers
    waiver = await waivers.change(partial(waivers.end, app.name, request.id))
    return PolicyUnwaiveResult(id=waiver.id, message=f"The rule {waiver.rule} holds for {app.name} again.")
