"""operations.get: an operation as it is now."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.sentences import say_operation
from ikoma.errors import Next, ShuttingDown, rebuild_failure
from ikoma.kernel.answers.failures import describe_failure
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.answers.telling import Reader, Telling
from ikoma.kernel.operations.journal import CANCELLED, INTERRUPTED, RUNNING, Record
from ikoma.kernel.registry import Capability, Request, Result, StoredFailure, Untrusted, capability, listed, registry
from ikoma.model import Effect, Role

_STEPS = 20
_EARLIER = "Why is told to those who could have made the call."
"""Where an earlier version did not write down what the audit log says of a failure."""


_KILLED = "The server was stopped or killed before this was done."
_AGAIN = "What is there is whole: make the call again."
_BY_ITSELF = "What is there is whole, and IKOMA goes on with it by itself."


class OperationsGetRequest(Request):
    operation_id: str = Field(max_length=80)


class OperationsGetStep(Result):
    name: Annotated[str, Untrusted("progress", ours=True)]
    at: str
    fraction: float | None


class OperationsGetResult(Result):
    id: str
    state: str
    """running, succeeded, failed, cancelled or interrupted."""
    capability: str
    app_name: str | None
    caller: str
    started_at: str
    finished_at: str | None
    steps: list[OperationsGetStep]
    result: dict[str, Any] | None = None
    """The call's own result, when it succeeded."""
    failure: Annotated[dict[str, Any] | None, StoredFailure("what the failure quotes", ours=True)] = None
    """Message that the caller got: error, code, hint; plain, next and details where there are some."""
    next: Next | None = None

    @classmethod
    def of(cls, record: Record, call: Call) -> OperationsGetResult:
        """The operation as this caller may see it."""
        return cls(
            id=record.id,
            state=record.state,
            capability=record.capability,
            app_name=record.app,
            caller=record.caller,
            started_at=record.started_at,
            finished_at=record.finished_at,
            steps=[
                OperationsGetStep(name=step.name, at=step.at, fraction=step.fraction) for step in record.steps[-_STEPS:]
            ],
            result=_read_result(record, call),
            failure=tell_failure(record, call),
            next=_choose_next(record),
        )


def _choose_next(record: Record) -> Next | None:
    """The call to make now; a call that has ended says its own next one, in its result or its failure."""
    if record.state == RUNNING:
        return Next("operations.wait", {"operationId": record.id})
    return Next("apps.status", {"appName": record.app}) if record.state == CANCELLED and record.app else None


@capability("operations.get", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "operations",
    no_verb="operations.wait shows the same, and with no seconds it does not wait",
    not_in_text=("state", "capability", "appName"),
    says=say_operation,
)
async def get(call: Call, request: OperationsGetRequest) -> OperationsGetResult:
    """See how far a long call is, or how it ended: state, steps, result or failure.

    Use it to look without waiting.
    """
    return OperationsGetResult.of(call.platform.operations.get(request.operation_id, call.caller, call.role), call)


def _read_result(record: Record, call: Call) -> dict[str, Any] | None:
    """The result of the work; calls that lead on are for those who may make them."""
    if record.result is None:
        return None
    body, made = record.result, _find_capability(record)
    if made is not None:
        body = _make_telling(call.platform.settings.folders).tell_result(made, body, _make_reader(record, call))
    result: dict[str, Any] = orjson.loads(body)
    return result


def tell_failure(record: Record, call: Call) -> dict[str, Any] | None:
    """The reason why it failed; what that quotes, SQL and rows and the like, is for those who could make the call."""
    if record.failure is not None:
        error = rebuild_failure(**record.failure)
    elif record.state == INTERRUPTED:
        error = ShuttingDown(_KILLED, hint=_BY_ITSELF if _find_capability(record) is None else _AGAIN)
    else:
        return None
    if not _may_make(call, record):
        error.message = error.audit_message = (record.failure or {}).get("audit", _EARLIER)
        error.details = {}
    return describe_failure(
        _make_telling(call.platform.settings.folders).tell_failure(error, _make_reader(record, call))
    )


def _make_reader(record: Record, call: Call) -> Reader:
    return Reader(call.caller, call.role, {"appName": record.app} if record.app else {}, call.sees_paths, call.lists)


@cache
def _make_telling(folders: tuple[Path, ...]) -> Telling:
    return Telling(registry, ServerPaths(folders))


def _may_make(call: Call, record: Record) -> bool:
    if call.caller.id == record.caller_id:
        return True
    made = _find_capability(record)
    return made is not None and call.role >= made.role and call.caller.reaches_capability(made)


def _find_capability(record: Record) -> Capability | None:
    return registry.get(record.capability) if record.capability in registry else None
