"""operations.get: an operation as it is now."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.journal import FAILED, INTERRUPTED, RUNNING, SUCCEEDED, Record
from ikoma.kernel.registry import Request, Result, Untrusted, capability, registry
from ikoma.model import Effect, Role

_STEPS = 20
_NEXT = {
    RUNNING: "operations.wait waits for its end; operations.cancel stops it.",
    SUCCEEDED: "",
    FAILED: "failure says why and what to do.",
    INTERRUPTED: "The server stopped in the middle. What is there is whole: make the call again.",
}

_EARLIER = "Why is told to those who could have made the call."
"""Where an earlier version did not write down what the audit log says of a failure."""


class Get(Request):
    operation_id: str = Field(max_length=80)


class Step(Result):
    name: Annotated[str, Untrusted("progress", ours=True)]
    at: str
    fraction: float | None


class Failure(Result):
    code: str
    error: Annotated[str, Untrusted("what the failure quotes", ours=True)]
    hint: str
    details: Annotated[dict[str, Any], Untrusted("what the failure quotes", ours=True)]


class Operation(Result):
    id: str
    state: str
    """running, succeeded, failed, cancelled or interrupted."""
    capability: str
    app_name: str | None
    caller: str
    started_at: str
    finished_at: str | None
    steps: list[Step]
    result: dict[str, Any] | None = None
    """The call's own result, when it succeeded."""
    failure: Failure | None = None
    next: str
    """What to do now."""

    @classmethod
    def of(cls, record: Record, call: Call) -> Operation:
        """As this caller may see it."""
        return cls(
            id=record.id,
            state=record.state,
            capability=record.capability,
            app_name=record.app,
            caller=record.caller,
            started_at=record.started_at,
            finished_at=record.finished_at,
            steps=[Step(name=step.name, at=step.at, fraction=step.fraction) for step in record.steps[-_STEPS:]],
            result=None if record.result is None else orjson.loads(record.result),
            failure=failure_of(record, call),
            next=_NEXT.get(record.state, "apps.status shows what is there now."),
        )


@capability("operations.get", role=Role.OBSERVER, effect=Effect.READS)
async def get(call: Call, request: Get) -> Operation:
    """See how far a long call is, or how it ended: state, steps, result or failure.

    Use it to look without waiting.
    """
    return Operation.of(call.platform.operations.get(request.operation_id, call.caller, call.role), call)


def failure_of(record: Record, call: Call) -> Failure | None:
    """Why it failed; what that quotes, SQL and rows and the like, is for those who could have made the call."""
    if record.failure is None:
        return None
    failure = Failure(**record.failure)
    if _could_make(call, record):
        return failure
    return failure.model_copy(update={"error": record.failure.get("audit", _EARLIER), "details": {}})


def _could_make(call: Call, record: Record) -> bool:
    if call.caller.id == record.caller_id:
        return True
    made = registry.get(record.capability) if record.capability in registry else None
    return made is not None and call.role >= made.role and call.caller.reaches_capability(made)
