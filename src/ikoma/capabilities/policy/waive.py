"""policy.waive: an exception from one rule, for one app, for a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

from pydantic import Field, GetJsonSchemaHandler, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ikoma.apps.policy.rules import RULES
from ikoma.capabilities.context import Call
from ikoma.errors import NotWaivable
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role
from ikoma.moments import FutureTime, parse_moment

_MOST_DAYS = 366


class EndOfWaiver(FutureTime):
    """A moment within a year: an exception that nobody looks at again is a rule."""

    @classmethod
    def parse(cls, text: str) -> Self:
        end = super().parse(text)
        if parse_moment(end) > datetime.now(UTC) + timedelta(days=_MOST_DAYS):
            raise ValueError(f"is more than {_MOST_DAYS} days away: waive the rule again when its end is near")
        return end

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        soon = datetime.now(UTC) + timedelta(days=90)
        return super().__get_pydantic_json_schema__(schema, handler) | {"examples": [f"{soon:%Y-%m-%dT00:00:00Z}"]}


class PolicyWaiveRequest(AppRequest):
    rule: str = Field(examples=["capabilities"])
    """As apps.validate names it."""
    reason: str = Field(min_length=3, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Why this app needs it."""
    expires: EndOfWaiver
    """ISO 8601 time of its end."""

    @field_validator("rule")
    @classmethod
    def is_a_rule(cls, rule: str) -> str:
        if rule not in RULES:
            raise ValueError(f"{rule[:40]!r} is no rule: apps.validate names the rule of each finding")
        return rule


class PolicyWaiveResult(Result):
    id: str
    rule: str
    expires_at: str
    message: str


@capability(
    "policy.waive", role=Role.ADMIN, effect=Effect.CHANGES, needs_approval=True, rare=True, undo="policy.unwaive"
)
@listed("start", "waive", "Let an app break one rule of the policy for a time.")
async def waive(call: Call, request: PolicyWaiveRequest) -> PolicyWaiveResult:
    """Let an app break one rule of the compose policy until a time. It is audited and shown.

    Use it only when the safe way won't do.
    """
    app = call.find_app(request.app_name)
    if not RULES[request.rule].waivable:
        raise NotWaivable(f"The rule {request.rule} cannot be waived: {RULES[request.rule].danger}")
    waivers, caller = call.platform.waivers, call.caller.name
    waiver = await waivers.change(
        partial(waivers.grant, app.name, request.rule, request.reason, caller=caller, expires_at=request.expires)
    )
    message = f"{app.name} may break the rule {waiver.rule} until {waiver.expires_at}."
    return PolicyWaiveResult(id=waiver.id, rule=waiver.rule, expires_at=waiver.expires_at, message=message)
