"""The protocol's Tasks extension (io.modelcontextprotocol/tasks): an operation, as a client that knows tasks sees it.

Such a client declares the extension with each request. A call of its that takes longer than a moment is answered with
a task at once; the task's id is the operation's, so operations.* show the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, RequestParams
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from ikoma.errors import IkomaError
from ikoma.kernel.operations.journal import CANCELLED, FAILED, RUNNING, SUCCEEDED
from ikoma.kernel.registry import Capability
from ikoma.transports.mcp.calls import Calls, McpConnection, ToolCall
from ikoma.transports.mcp.wording import answers
from ikoma.transports.mcp.wording.marking import Wrapper

Context = ServerRequestContext[Any, Any]

EXTENSION = "io.modelcontextprotocol/tasks"
MOMENT_SECONDS = 2
"""How long a client that knows tasks waits for a plain result."""

_KEPT_MS = 24 * 3600 * 1000
_POLL_MS = 2000
_STATUS = {RUNNING: "working", SUCCEEDED: "completed", FAILED: "completed", CANCELLED: "cancelled"}


class TaskParams(RequestParams):
    task_id: str = Field(alias="taskId", max_length=80)


class UpdateTaskParams(TaskParams):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


class Tasks:
    """The extension's methods over the operations."""

    def __init__(
        self, calls: Calls, identify: Callable[[Context], McpConnection], capabilities: Mapping[str, Capability]
    ) -> None:
        self._calls = calls
        self._identify = identify
        self._capabilities = capabilities

    def attach(self, server: Server[Any]) -> None:
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", UpdateTaskParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)

    async def make_result(self, who: McpConnection, identity: str) -> dict[str, Any]:
        """The answer to a call that goes on as this operation."""
        return {"resultType": "task", **_make_envelope(await self._find_operation(who, identity), Wrapper())}

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        operation = await self._find(ctx, params)
        details: dict[str, Any] = {}
        wrapper = Wrapper()
        if operation["state"] == SUCCEEDED:
            capability = self._capabilities[operation["capability"]]
            details["result"] = answers.word_success(
                capability, orjson.dumps(operation["result"]), pending=False, wrapper=wrapper, known=self._capabilities
            )
        elif operation["state"] == FAILED:
            failure = answers.make_failure(operation["failure"], operation["id"], wrapper)
            details["result"] = failure.model_dump(by_alias=True, mode="json", exclude_none=True)
        elif _choose_status(operation) == "failed":
            said = wrapper.mark_sentence(operation["failure"].get("plain") or operation["failure"]["error"])
            details["error"] = {"code": INTERNAL_ERROR, "message": said}
        return {"resultType": "complete", **_make_envelope(operation, wrapper), **details}

    async def _update(self, ctx: Context, params: UpdateTaskParams) -> dict[str, Any]:
        """Nothing is asked while an operation runs: what is destroyed is put before a person first."""
        await self._find(ctx, params)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        operation = await self._find(ctx, params)
        if operation["state"] == RUNNING:
            ask = ToolCall(self._identify(ctx), "operations.cancel", {"operationId": params.task_id})
            await _require_found(params.task_id, self._calls.execute(ask))
        return {"resultType": "complete"}

    async def _find(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
        if not knows_tasks(ctx):
            required: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY, "The client has not declared that it knows tasks.", required
            )
        if ctx.request is not None and decode_header_value(ctx.request.headers.get("mcp-name", "")) != params.task_id:
            raise MCPError(HEADER_MISMATCH, "The Mcp-Name header is not params.taskId.")
        operation: dict[str, Any] = await _require_found(
            params.task_id, self._find_operation(self._identify(ctx), params.task_id)
        )
        return operation

    async def _find_operation(self, who: McpConnection, identity: str) -> dict[str, Any]:
        answer = await self._calls.execute(ToolCall(who, "operations.get", {"operationId": identity}))
        operation: dict[str, Any] = orjson.loads(answer.body)
        return operation


def knows_tasks(ctx: Context) -> bool:
    """Whether this request's client declares the extension; older revisions have no way to."""
    can = ctx.session.client_capabilities
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and can is not None and EXTENSION in (can.extensions or {})


async def _require_found(identity: str, asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except IkomaError as error:  # someone else's is unknown as well, or ids could be tried out
        raise MCPError(INVALID_PARAMS, "There is no such task.", {"taskId": identity}) from error


def _make_envelope(operation: Mapping[str, Any], wrapper: Wrapper) -> dict[str, Any]:
    steps = operation["steps"]
    said = {"statusMessage": wrapper.wrap_unless_name(steps[-1]["name"], "progress")} if steps else {}
    return {
        "taskId": operation["id"],
        "status": _choose_status(operation),
        "createdAt": operation["startedAt"],
        "lastUpdatedAt": operation["finishedAt"] or (steps[-1]["at"] if steps else operation["startedAt"]),
        "ttlMs": _KEPT_MS,
        "pollIntervalMs": _POLL_MS,
        **said,
    }


def _choose_status(operation: Mapping[str, Any]) -> str:
    return _STATUS.get(operation["state"], "failed")
