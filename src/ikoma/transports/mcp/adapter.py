"""The one adapter between the SDK's low-level server and the pipeline: translate, call, translate back.

Whoever speaks, over whichever transport and in whichever revision of the protocol, walks the same path as over HTTP.
What a caller may do is looked up at each request, so a key that loses a role loses its tools at the next list.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CancelledNotificationParams,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmptyResult,
    InputRequiredResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    RequestId,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    Tool,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ikoma import __version__
from ikoma.errors import ConfirmationNeeded, IkomaError, Unauthenticated, UnknownCapability
from ikoma.kernel.access import controls
from ikoma.kernel.call import CallAnswer
from ikoma.kernel.events import Events
from ikoma.kernel.registry import Capability, Registry
from ikoma.model import Effect
from ikoma.transports.mcp import elicitation, tools
from ikoma.transports.mcp.arguments import convert_arguments
from ikoma.transports.mcp.calls import Calls, McpConnection, ToolCall
from ikoma.transports.mcp.progress import Reporter
from ikoma.transports.mcp.prompts import Prompts
from ikoma.transports.mcp.resources import Resources
from ikoma.transports.mcp.streams.notifications import Notifier
from ikoma.transports.mcp.tasks import MOMENT_SECONDS, Tasks, knows_tasks
from ikoma.transports.mcp.wording import answers
from ikoma.transports.mcp.wording.marking import Wrapper, collect_texts

Context = ServerRequestContext[Any, Any]
Outcome = CallToolResult | InputRequiredResult | dict[str, Any]
"""Answer to tools/call; a dictionary is the result as it is on the wire."""

_FIXED_MS = 300_000
_RESOURCE_NOT_FOUND = -32002  # what it was called before 2026-07-28
_TELLING_SECONDS = 5.0
_TOOLS_HINT = "tools/list shows the tools; with ?toolsets=all it shows every one."


Identify = Callable[[Context], McpConnection]
"""Tells who sent a request. The transport knows: from headers, or because there is only one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The tool call under way, as the SDK sees it."""

    ctx: Context
    params: CallToolRequestParams
    wrapper: Wrapper = field(default_factory=Wrapper)
    """Mark of all that is said of this call: progress, result and failure."""


exchange: ContextVar[Exchange] = ContextVar("exchange")


class _McpServer(Server[Any]):
    """The SDK's server, saying to older clients too that it tells of changed lists."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *more: Any, **options: Any
    ) -> InitializationOptions:
        told = notification_options or NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(told, *more, **options)


class McpAdapter:
    """Serves one registry over MCP.

    Args:
        registry: what can be called; what a caller sees of it, `calls` says.
        identify: who sent a request.
        resources, prompts: what can be read and begun; the product's own when left out.
    """

    def __init__(
        self,
        registry: Registry,
        calls: Calls,
        identify: Identify,
        *,
        resources: Resources | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        self._calls = calls
        self._identify = identify
        self._capabilities = {item.name: item for item in registry}
        self._names = tools.map_names(registry)
        self._tools = {item.name: self.describe_tool(item) for item in registry}
        self._resources = resources or Resources(calls)
        self._prompts = prompts or Prompts(calls)
        self._under_way: dict[tuple[str, RequestId], ToolCall] = {}
        self._tasks = Tasks(calls, identify, self._capabilities)
        self.notifier = Notifier()
        self.server = self._make_server()

    def _make_server(self) -> Server[Any]:
        now, later = CacheHint(0, scope="private"), CacheHint(_FIXED_MS, scope="private")
        server = _McpServer(
            "ikoma",
            version=__version__,
            title="IKOMA",
            instructions=files("ikoma.transports.mcp").joinpath("instructions.md").read_text(encoding="utf-8"),
            cache_hints={
                "tools/list": now,  # a key that loses a role loses its tools at the next list
                "prompts/list": later,
                "resources/list": now,
                "resources/templates/list": later,
                "resources/read": now,
            },
            get_tool_input_schema=self._find_input_schema,
            on_list_tools=self.list_tools,
            on_list_resources=self._wrap_handler(lambda who, params: self._resources.list_resources(who, params)),
            on_list_resource_templates=self._wrap_handler(lambda who, params: self._resources.list_templates(who)),
            on_read_resource=self._read,
            on_list_prompts=self._wrap_handler(lambda who, params: self._prompts.list_prompts(who)),
            on_get_prompt=self._wrap_handler(lambda who, params: self._prompts.get(who, params)),
            on_completion=self.complete,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_subscriptions_listen=self._listen,
        )
        server.add_request_handler("tools/call", CallToolRequestParams, self.call_tool)
        # Older clients ask for log messages of a level; there is nothing that progress does not say already.
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._set_level)
        server.add_notification_handler("notifications/initialized", NotificationParams, self._note_began)
        server.add_notification_handler("notifications/cancelled", CancelledNotificationParams, self._record_cancelled)
        self._tasks.attach(server)
        security = RequestStateSecurity(keys=[os.urandom(32)], bind_principal=self._identify_principal)
        server.middleware.clear()  # of OpenTelemetry's spans: the audit log has every call
        server.middleware.append(RequestStateBoundary(security, default_audience="ikoma"))
        return server

    async def list_tools(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        who = self._identify(ctx)
        try:
            visible = await self._calls.list_visible(who)
        except IkomaError as error:
            raise _make_protocol_error(error) from error
        return ListToolsResult(tools=[self._tools[item.name] for item in tools.choose(visible, who.toolsets)])

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> Outcome:
        """tools/call: refusals and failures are results that a model can act on; only an unknown tool is not."""
        under_way = Exchange(ctx, params)
        exchange.set(under_way)
        who = self._identify(ctx)
        arguments = self._read_arguments(params)
        if word := elicitation.ask_person(params):
            arguments["confirmation"] = word
        if knows_tasks(ctx):
            who = replace(who, patience=MOMENT_SECONDS)
        ask = ToolCall(who, self._names.get(params.name, params.name), arguments)
        try:
            try:
                return await self._perform(ctx, ask)
            except ConfirmationNeeded as plan:
                answer = await elicitation.ask(ctx, plan, under_way.wrapper)
                if answer is None or isinstance(answer, InputRequiredResult):
                    return answer or answers.word_failure(
                        plan, ask.request_id, under_way.wrapper, collect_texts(arguments)
                    )
                confirmed = ToolCall(who, ask.capability, {**arguments, "confirmation": answer})
                return await self._perform(ctx, confirmed)
        except UnknownCapability as error:
            unknown = under_way.wrapper.wrap_unless_name(params.name[:80])
            hint = _TOOLS_HINT if error.hint == error.default_hint else tools.name_as_tools(error.hint)
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {unknown}. {hint}") from error
        except IkomaError as error:
            return answers.word_failure(error, ask.request_id, under_way.wrapper, collect_texts(arguments))

    def _read_arguments(self, params: CallToolRequestParams) -> dict[str, Any]:
        found = self._capabilities.get(self._names.get(params.name, ""))
        given = params.arguments or {}
        return convert_arguments(controls.make_arguments_schema(found), given) if found else dict(given)

    async def _read(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        try:
            return await self._resources.read(self._identify(ctx), params.uri)
        except IkomaError as error:
            is_missing = error.status == 404 and ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS
            number = _RESOURCE_NOT_FOUND if is_missing else INVALID_PARAMS
            raise _make_protocol_error(error, params.uri, number=number, uri=params.uri) from error

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> CompleteResult:
        who = self._identify(ctx)
        source = self._prompts if params.ref.type == "ref/prompt" else self._resources
        try:
            found = await source.complete(who, params)
        except IkomaError:
            found = []  # a completion has no way to say why there is none
        return CompleteResult(
            completion=Completion(values=list(found[:100]), total=len(found), has_more=len(found) > 100)
        )

    def describe_tool(self, capability: Capability) -> Tool:
        """A capability as it is listed."""
        return tools.make_tool(capability)

    def word_result(self, capability: Capability, answer: CallAnswer) -> Outcome:
        """A result as the client gets it."""
        return answers.word_success(
            capability,
            answer.body,
            pending=answer.operation is not None,
            wrapper=exchange.get().wrapper,
            known=self._capabilities,
        )

    async def _perform(self, ctx: Context, ask: ToolCall) -> Outcome:
        capability = self._capabilities.get(ask.capability)
        async with Reporter(ctx, exchange.get().wrapper) as progress:
            with self._can_be_taken_back(ctx, ask):
                answer = await self._calls.execute(ask, progress)
        if answer.operation is not None and knows_tasks(ctx):
            return await self._tasks.make_result(ask.who, answer.operation)
        assert capability is not None  # or execute would have raised UnknownCapability
        return self.word_result(capability, answer)

    @contextmanager
    def _can_be_taken_back(self, ctx: Context, ask: ToolCall) -> Iterator[None]:
        """Inside, the client can take its request back by its id. Without a session nobody knows whose id it is."""
        session = self._identify_session(ctx)
        place = (session, ctx.request_id or "")
        if session:
            self._under_way[place] = ask

        def forget() -> None:
            if self._under_way.get(place) is ask:
                del self._under_way[place]

        try:
            yield
        except asyncio.CancelledError:
            # Taken back or gone? The notification that tells comes after.
            asyncio.get_running_loop().call_later(_TELLING_SECONDS, forget)
            raise
        except IkomaError:
            forget()
            raise
        forget()

    async def _record_cancelled(self, ctx: Context, params: CancelledNotificationParams) -> None:
        """A client takes a request back: the operation it began is stopped. (That it has gone stops nothing.)"""
        ask = self._under_way.get((self._identify_session(ctx), params.request_id or ""))
        capability = self._capabilities.get(ask.capability) if ask else None
        if ask is not None and capability is not None and capability.effect is not Effect.READS:
            await self._calls.execute(
                ToolCall(self._identify(ctx), "operations.cancel", {"operationId": ask.request_id})
            )

    async def _note_began(self, ctx: Context, params: NotificationParams) -> None:
        who = self._identify(ctx)
        self.notifier.note_began(self._identify_session(ctx), ctx, lambda changed: self._calls.may_see(who, changed))

    async def _subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        await self._check_readable(ctx, [str(params.uri)])
        self.notifier.follow(self._identify_session(ctx), str(params.uri))
        return EmptyResult()

    async def _unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        self.notifier.unfollow(self._identify_session(ctx), str(params.uri))
        return EmptyResult()

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        await self._check_readable(ctx, params.notifications.resource_subscriptions or [])
        try:
            async with self._calls.guard_key(self._identify(ctx)):
                return await self.notifier.listen(ctx, params)
        except Unauthenticated as error:
            raise _make_protocol_error(error) from error

    async def _set_level(self, ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
        return EmptyResult()

    async def _check_readable(self, ctx: Context, uris: Sequence[str]) -> None:
        """Check that a client may read a resource: who follows one learns when it changes."""
        for uri in uris:
            await self._read(ctx, ReadResourceRequestParams(uri=uri))

    def _find_input_schema(self, name: str) -> Mapping[str, Any] | None:
        found = self._tools.get(self._names.get(name, ""))
        return found.input_schema if found else None

    def _wrap_handler(self, act: Callable[[McpConnection, Any], Any]) -> Any:
        """A handler whose failures are protocol errors: these methods have no other way to say why."""

        async def handle(ctx: Context, params: Any) -> Any:
            try:
                return await act(self._identify(ctx), params)
            except IkomaError as error:
                raise _make_protocol_error(error) from error

        return handle

    def _identify_principal(self, ctx: Context) -> str:
        return f"{self._identify(ctx).key}"

    def _identify_session(self, ctx: Context) -> str:
        """Request ids are a session's own: this keeps those of two clients apart."""
        if ctx.request is None:
            return self._identify(ctx).session
        return str(ctx.request.headers.get("mcp-session-id", ""))

    @asynccontextmanager
    async def tell_of_events(self, events: Events) -> AsyncIterator[None]:
        """Clients hear of what changes inside the block."""
        with events.following() as followed:
            task = asyncio.ensure_future(self.notifier.pump(followed))
            try:
                yield
            finally:
                task.cancel()


def _make_protocol_error(error: IkomaError, *given: str, number: int = INVALID_PARAMS, **more: Any) -> MCPError:
    """A failure where the method has no result to say it in."""
    wrapper = Wrapper()
    said, hint = (wrapper.mark_sentence(text, given) for text in (error.audit_message, error.hint))
    more = {name: wrapper.wrap_unless_name(text) for name, text in more.items()}
    return MCPError(number, said, {**more, "code": error.code, "hint": hint})


_LINE = ContextVar[McpConnection]("connection")
SCOPE_KEY = "ikoma.connection"
UNDERSTOOD = "ikoma.understood"
"""Set in a request's scope once a message in it has reached a handler: what is wrong from there on is on record."""


@contextmanager
def serve_stream(who: McpConnection) -> Iterator[None]:
    """Take all that is received in the block, on a stream that has one client, as this one's."""
    token = _LINE.set(who)
    try:
        yield
    finally:
        _LINE.reset(token)


def find_connection(ctx: Context) -> McpConnection:
    """The sender of a request: what the HTTP endpoint found out about it, or the one client of a stream."""
    if ctx.request is None:
        return _LINE.get()
    connection: McpConnection = ctx.request.scope[SCOPE_KEY]
    ctx.request.scope[UNDERSTOOD] = True
    return connection
