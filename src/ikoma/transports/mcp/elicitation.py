"""Asking the person at the other end before something is destroyed: by elicitation, where the client can.

The newer protocol ends the call with a question and the client calls again with the answer; the older one asks while
the call waits. A client that can do neither gets the plan with its token, for the model to show.
"""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp_types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ikoma.errors import ConfirmationNeeded
from ikoma.kernel.access.controls import DECLINED
from ikoma.transports.mcp.wording.marking import Wrapper

Context = ServerRequestContext[Any, Any]

_QUESTION = "confirm"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "confirm": {
            "type": "boolean",
            "title": "Do it",
            "description": "What is listed will be lost.",
            "default": False,
        }
    },
    "required": ["confirm"],
}


def ask_person(params: CallToolRequestParams) -> str | None:
    """The person's word that came with a repeated call, as the argument `confirmation`; None where none came."""
    answer = (params.input_responses or {}).get(_QUESTION)
    if params.request_state is None or not isinstance(answer, ElicitResult):
        return None
    return params.request_state if _has_agreed(answer) else DECLINED


async def ask(ctx: Context, plan: ConfirmationNeeded, wrapper: Wrapper) -> str | InputRequiredResult | None:
    """The person's word as the argument `confirmation`, the question to end the call with, or None: nobody to ask."""
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.elicitation is None:
        return None
    message = _make_question(plan, wrapper)
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        form = ElicitRequestFormParams(message=message, requested_schema=_SCHEMA)
        return InputRequiredResult(
            input_requests={_QUESTION: ElicitRequest(params=form)}, request_state=plan.details["confirmation"]
        )
    if not ctx.session.can_send_request:
        return None
    answer = await ctx.session.elicit_form(message, _SCHEMA, related_request_id=ctx.request_id)
    return str(plan.details["confirmation"]) if _has_agreed(answer) else DECLINED


def _has_agreed(answer: ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get("confirm") is True


def _make_question(plan: ConfirmationNeeded, wrapper: Wrapper) -> str:
    """The question to a person: a line for each thing lost. A name that others gave makes no lines of its own."""
    parts = [[plan.details["summary"]]]
    for title, items in (("Lost:", plan.details["lost"]), ("Kept:", plan.details["kept"])):
        parts += [[title, *(f"- {wrapper.mark_sentence(' '.join(item.split()))}" for item in items)]] if items else []
    return "\n\n".join("\n".join(part) for part in parts)
