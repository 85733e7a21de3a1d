"""The Tasks extension (io.modelcontextprotocol/tasks, SEP-2663) over the SDK's low-level server, which has none of it.

A reference to learn from: the suite's scenarios tasks-* pass with this file. What they demand, all of it only on
2026-07-28 (on older revisions the methods do not exist, -32601):

Negotiation
  - server/discover has `capabilities.extensions["io.modelcontextprotocol/tasks"]`, and no `capabilities.tasks`.
  - The client declares the extension per request, in `_meta["io.modelcontextprotocol/clientCapabilities"].extensions`.
    There is no session to remember it: what counts is this request.
  - Not declared: tasks/get, tasks/update, tasks/cancel are -32021 (HTTP 400); a tool that can do without a task runs
    to its end and returns its plain result; a tool that cannot is -32021 before anything runs, with
    `data.requiredCapabilities = {"extensions": {"io.modelcontextprotocol/tasks": {}}}`.

tools/call
  - The server alone decides whether a call becomes a task. A leftover `task: {ttl, pollInterval}` is ignored: no error,
    and no task out of a tool that makes none.
  - Created: flat `{"resultType": "task", taskId, status, createdAt, lastUpdatedAt, ttlMs[, pollIntervalMs,
    statusMessage]}`. Times are ISO 8601; ttlMs is null or a positive integer, pollIntervalMs a positive integer.
    Never `task`, `result`, `error`, `inputRequests`, `requestState`, `ttl`, `pollInterval`.
  - tasks/get right after it must find the task: store first, answer then.
  - Input first, task second (tasks-mrtr-composition): the rounds of `InputRequiredResult` come before, carry no taskId;
    the last round returns the task, which carries no requestState; what the user said must show in the task's result.

tasks/get, tasks/update, tasks/cancel; every answer has `resultType: "complete"`
  - HTTP: header `Mcp-Name` equal to `params.taskId`, else -32020 (HTTP 400); `Mcp-Method` the SDK checks.
  - Unknown taskId: -32602. (Someone else's task is unknown as well, or ids could be tried out.)
  - get: the fields above and, by status: `working` nothing more; `input_required` a non-empty `inputRequests` map of
    whole requests (`method`, `params`); `completed` the tool's `result` (a tool's own error too, with `isError`);
    `failed` an `error {code, message[, data]}`, only for protocol errors; `cancelled` nothing more. No `requestState`,
    and no `io.modelcontextprotocol/related-task` in `result._meta`.
  - update: `inputResponses` by the keys of `inputRequests`; acknowledged by `{}` without any task field. Some keys are
    enough: the answered ones disappear at once, the task stays `input_required` until none is left. Unknown keys are
    acknowledged and ignored.
  - cancel: acknowledged by `{}`, on a finished task as well; a running one settles as `cancelled`, seen by tasks/get.
  - A task stays readable for its whole ttlMs.
  - tasks/result and tasks/list no longer exist: -32601.

Status notifications (`notifications/tasks` on a subscriptions/listen stream) are optional; the suite skips them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.request_state import authenticated_principal
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from pydantic import Field, TypeAdapter, ValidationError

from tests.mcp.fixture import Context, Fixture, Outcome, is_modern, missing_capability, schema, text
from tests.mcp.fixtures_input import CONFIRM_FORM, NAME_FORM, STRING, answered, ask

EXTENSION = "io.modelcontextprotocol/tasks"
TIME_TO_LIVE = timedelta(minutes=10)
POLL_INTERVAL = timedelta(milliseconds=200)
FINISHED = ("completed", "failed", "cancelled")

_answer = TypeAdapter[types.InputResponse](types.InputResponse)


class TaskParams(types.RequestParams):
    task_id: str = Field(alias="taskId")


class UpdateTaskParams(TaskParams):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


Work = Callable[["Task"], Awaitable[types.CallToolResult]]


@dataclass
class Task:
    """One detached piece of work, told apart by an id nobody can guess."""

    id: str
    owner: str | None
    status: str = "working"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    result: types.CallToolResult | None = None
    error: types.ErrorData | None = None
    asked: dict[str, types.InputRequest] = field(default_factory=dict)
    answers: dict[str, types.InputResponse] = field(default_factory=dict)
    all_answered: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None

    async def ask(self, requests: dict[str, types.InputRequest]) -> dict[str, types.InputResponse]:
        """Park until the client has answered every one of `requests`."""
        self.asked = dict(requests)
        self.all_answered.clear()
        self.settle("input_required")
        await self.all_answered.wait()
        return self.answers

    def answer(self, key: str, response: types.InputResponse) -> None:
        self.answers[key] = response
        del self.asked[key]
        if not self.asked:
            self.settle("working")
            self.all_answered.set()

    def settle(self, status: str) -> None:
        self.status = status
        self.updated = datetime.now(UTC)

    @property
    def expired(self) -> bool:
        return self.status in FINISHED and datetime.now(UTC) > self.created + TIME_TO_LIVE

    def created_result(self) -> dict[str, Any]:
        return {"resultType": "task", **self._envelope()}

    def detailed(self) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if self.status == "input_required":
            details["inputRequests"] = {key: _wire(request) for key, request in self.asked.items()}
        if self.result is not None:
            details["result"] = _wire(self.result)
        if self.error is not None:
            details["error"] = _wire(self.error)
        return {"resultType": "complete", **self._envelope(), **details}

    def _envelope(self) -> dict[str, Any]:
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created.isoformat(),
            "lastUpdatedAt": self.updated.isoformat(),
            "ttlMs": TIME_TO_LIVE // timedelta(milliseconds=1),
            "pollIntervalMs": POLL_INTERVAL // timedelta(milliseconds=1),
        }


def _wire(model: types.InputRequest | types.CallToolResult | types.ErrorData) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Tasks:
    """The tasks of one server, kept in memory: its methods (`attach`) and the suite's tools (`tools`)."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self.tools = {
            fixture.name: fixture
            for fixture in (
                Fixture("greet", "Says hello; never a task.", self._greet, schema(name=STRING)),
                Fixture(
                    "slow_compute",
                    "Waits; a task when the client knows tasks.",
                    self._slow_compute,
                    schema(["seconds"], seconds={"type": "number", "minimum": 0, "maximum": 60}, label=STRING),
                ),
                Fixture("failing_job", "A task that ends in a tool error.", self._failing_job),
                Fixture("protocol_error_job", "A task that ends in a protocol error.", self._protocol_error_job),
                Fixture("confirm_delete", "A task that asks once.", self._confirm_delete, schema(filename=STRING)),
                Fixture("multi_input", "A task that asks two things at once.", self._multi_input),
                Fixture("test_tool_with_task", "Asks first, then becomes a task.", self._asks_then_works),
            )
        }

    def attach(self, server: Server[Any]) -> None:
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", UpdateTaskParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)

    # --- methods ---

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        return self._find(ctx, params).detailed()

    async def _update(self, ctx: Context, params: UpdateTaskParams) -> types.EmptyResult:
        task = self._find(ctx, params)
        known = {key: value for key, value in params.input_responses.items() if key in task.asked}
        try:
            answers = {key: _answer.validate_python(value) for key, value in known.items()}
        except ValidationError as error:
            raise MCPError(types.INVALID_PARAMS, "Not an answer to what the task asked") from error
        for key, response in answers.items():  # only after all of them were understood
            task.answer(key, response)
        return types.EmptyResult(result_type="complete")

    async def _cancel(self, ctx: Context, params: TaskParams) -> types.EmptyResult:
        task = self._find(ctx, params)
        if task.status not in FINISHED and task.running is not None:
            task.running.cancel()
        return types.EmptyResult(result_type="complete")

    def _find(self, ctx: Context, params: TaskParams) -> Task:
        if not is_modern(ctx):
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", ctx.method)
        require_tasks(ctx)
        if ctx.request is not None:
            header = ctx.request.headers.get("mcp-name")
            if header is None or decode_header_value(header) != params.task_id:
                raise MCPError(types.HEADER_MISMATCH, "mcp-name header does not match params.taskId")
        task = self._tasks.get(params.task_id)
        if task is None or task.owner != authenticated_principal(ctx):
            raise MCPError(types.INVALID_PARAMS, "Task not found", {"taskId": params.task_id})
        return task

    def start(self, ctx: Context, work: Work) -> dict[str, Any]:
        """Store a new task, start its work apart from this request, and answer with the task."""
        self._tasks = {task.id: task for task in self._tasks.values() if not task.expired}
        task = Task(secrets.token_urlsafe(16), authenticated_principal(ctx))
        self._tasks[task.id] = task
        task.running = asyncio.create_task(_carry_out(task, work))
        task.running.add_done_callback(lambda ended: task.settle("cancelled") if ended.cancelled() else None)
        return task.created_result()

    # --- tools ---

    async def _greet(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        return text(f"Hello, {(params.arguments or {}).get('name')}!")

    async def _slow_compute(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        given = params.arguments or {}

        async def work(task: Task | None = None) -> types.CallToolResult:
            await asyncio.sleep(given.get("seconds", 0))
            return text(f"Computed {given.get('label', '')} in {given.get('seconds', 0)} s")

        return self.start(ctx, work) if knows_tasks(ctx) else await work()

    async def _failing_job(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        async def work(task: Task) -> types.CallToolResult:
            await asyncio.sleep(1)
            return text("The job failed, as it always does", error=True)

        require_tasks(ctx)
        return self.start(ctx, work)

    async def _protocol_error_job(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        async def work(task: Task) -> types.CallToolResult:
            raise MCPError(types.INTERNAL_ERROR, "The job broke the server, as it always does")

        require_tasks(ctx)
        return self.start(ctx, work)

    async def _confirm_delete(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        name = (params.arguments or {}).get("filename")

        async def work(task: Task) -> types.CallToolResult:
            answers = await task.ask({"confirm": ask(f"Delete {name}?", CONFIRM_FORM)})
            accepted = isinstance(answers["confirm"], types.ElicitResult) and answers["confirm"].action == "accept"
            return text(f"Deleted {name}" if accepted else f"Kept {name}")

        require_tasks(ctx)
        return self.start(ctx, work)

    async def _multi_input(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        async def work(task: Task) -> types.CallToolResult:
            questions = {"name": ask("What is your name?", NAME_FORM), "confirm": ask("Sure?", CONFIRM_FORM)}
            answers = await task.ask({**questions})
            return text(f"Got answers to {', '.join(sorted(answers))}")

        require_tasks(ctx)
        return self.start(ctx, work)

    async def _asks_then_works(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        require_tasks(ctx)
        answer = answered(params, "user_name")
        if answer is None:
            return types.InputRequiredResult(input_requests={"user_name": ask("What is your name?", NAME_FORM)})

        async def work(task: Task) -> types.CallToolResult:
            return text(f"Worked for {answer.get('name')}")

        return self.start(ctx, work)


def knows_tasks(ctx: Context) -> bool:
    """Whether this request's client declared the extension; older revisions cannot carry a task at all."""
    can = ctx.session.client_capabilities
    return is_modern(ctx) and can is not None and EXTENSION in (can.extensions or {})


def require_tasks(ctx: Context) -> None:
    if not knows_tasks(ctx):
        raise missing_capability(extensions={EXTENSION: {}})


async def _carry_out(task: Task, work: Work) -> None:
    """Run `work` to its end and note how it ended; a tool's own error is a completed task."""
    try:
        task.result = await work(task)
        task.settle("completed")
    except MCPError as error:
        task.error = error.error
        task.settle("failed")
    except Exception:
        task.error = types.ErrorData(code=types.INTERNAL_ERROR, message="Internal error")
        task.settle("failed")
        raise
