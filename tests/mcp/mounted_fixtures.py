"""Our own adapter over a registry that holds nothing but the conformance suite's fixtures.

    python -m tests.mcp.mounted_fixtures PORT

Everything between the client and a fixture is the product's: endpoint, authentication, adapter, pipeline. Only how a
fixture's result looks is its own, because the suite wants images, questions and errors that no capability has.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import ListToolsResult, ReadResourceRequestParams, Tool
from pydantic import BaseModel, ConfigDict

from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.call import CallAnswer, CallContext
from ikoma.kernel.events import Events
from ikoma.kernel.locks import Locks
from ikoma.kernel.operations.journal import Journal
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import Capability, Registry, Request, Result, capability
from ikoma.kernel.state.store import Store
from ikoma.model import Effect, Role
from ikoma.transports import headers
from ikoma.transports.mcp.adapter import McpAdapter, exchange, find_connection
from ikoma.transports.mcp.calls import Calls
from ikoma.transports.mcp.streams.http import McpEndpoint
from tests.mcp.fixtures import TOOLS, Fixture, FixturePrompts, FixtureResources, Tasks, change_tools
from tests.mcp.key_proxy import with_key


class Anything(Request):
    model_config = ConfigDict(extra="allow")


class Raw(Result):
    """A result as the fixture made it, or the error it raised."""

    result: Any = None
    error: Any = None


def declare(registry: Registry, fixture: Fixture) -> None:
    @capability(fixture.name.replace("_", ".", 1), role=Role.OBSERVER, effect=Effect.READS, into=registry)
    async def run(call: CallContext, request: Anything) -> Raw:
        """A fixture."""
        now = exchange.get()
        try:
            outcome = await fixture.run(now.ctx, now.params)
        except MCPError as error:
            return Raw(error=error.error.model_dump(mode="json", exclude_none=True))
        if isinstance(outcome, BaseModel):
            outcome = outcome.model_dump(by_alias=True, mode="json", exclude_none=True)
        return Raw(result=outcome)


class FixtureAdapter(McpAdapter):
    """The product's adapter; results and listings are the fixtures' own."""

    fixtures: dict[str, Fixture]

    def describe_tool(self, capability: Capability) -> Tool:
        return self.fixtures[capability.name].listed()

    async def list_tools(self, ctx: Any, params: Any) -> ListToolsResult:
        """The suite calls the first one without arguments."""
        listed = await super().list_tools(ctx, params)
        listed.tools.sort(key=lambda tool: tool.name != "test_simple_text")
        return listed

    def word_result(self, capability: Capability, answer: CallAnswer) -> Any:
        raw = orjson.loads(answer.body)
        if raw["error"] is not None:
            raise MCPError(raw["error"]["code"], raw["error"]["message"], raw["error"].get("data"))
        return raw["result"]


class MountedResources:
    def __init__(self) -> None:
        self._fixtures = FixtureResources()

    async def list_resources(self, who: Any, params: Any) -> Any:
        return await self._fixtures.list(None, params)  # type: ignore[arg-type]

    async def list_templates(self, who: Any) -> Any:
        return await self._fixtures.templates(None, None)  # type: ignore[arg-type]

    async def read(self, who: Any, uri: str) -> Any:
        return await self._fixtures.read(None, ReadResourceRequestParams(uri=uri))  # type: ignore[arg-type]

    async def complete(self, who: Any, params: Any) -> list[str]:
        return []


class MountedPrompts:
    def __init__(self) -> None:
        self._fixtures = FixturePrompts()

    async def list_prompts(self, who: Any) -> Any:
        return await self._fixtures.list(None, None)  # type: ignore[arg-type]

    async def get(self, who: Any, params: Any) -> Any:
        return await self._fixtures.get(None, params)  # type: ignore[arg-type]

    async def complete(self, who: Any, params: Any) -> list[str]:
        return (await self._fixtures.complete(None, params)).completion.values  # type: ignore[arg-type]


def endpoint(folder: Path) -> tuple[McpEndpoint, str]:
    """The endpoint over the fixtures, and a key for it."""
    registry = Registry()
    tasks = Tasks()
    # The two that announce changes need the bus of an adapter that does not exist yet.
    late: dict[str, Fixture] = {}
    everything = {**TOOLS, **tasks.tools}
    for fixture in everything.values():
        declare(registry, fixture)
    for name in change_tools(None):  # type: ignore[arg-type]
        declare(registry, Fixture(name, "Announces a change.", lambda ctx, params: late[params.name].run(ctx, params)))
    store = Store(folder / "state.db")
    callers = Callers(store, folder / ".env", None)
    pipeline = Pipeline(
        registry,
        callers=callers,
        rate_limit=RateLimit(60_000, 1_000_000),
        audit=AuditLog(folder / "audit.jsonl", folder / "audit-head"),
        approvals=Approvals(store),
        throttle=Throttle(1_000_000),
        locks=Locks(folder),
        events=Events(store),
        operations=Operations(Journal(store)),
        make_call=lambda identified: identified,
    )
    FixtureAdapter.fixtures = {
        name.replace("_", ".", 1): fixture
        for name, fixture in {**everything, **change_tools(None)}.items()  # type: ignore[arg-type]
    }
    adapter = FixtureAdapter(
        registry,
        Calls(pipeline),
        find_connection,
        resources=MountedResources(),  # type: ignore[arg-type]
        prompts=MountedPrompts(),  # type: ignore[arg-type]
    )
    tasks.attach(adapter.server)
    late.update(change_tools(adapter.notifier.bus))
    return McpEndpoint(pipeline, adapter=adapter), callers.create("suite", Role.ADMIN)[1]


async def serve(port: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ikoma-mounted-") as folder:
        mounted, key = endpoint(Path(folder))
        app = with_key(headers.guard_app(mounted, ()), key)
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", http="httptools", lifespan="off")
        async with mounted.running():
            await uvicorn.Server(config).serve()


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    asyncio.run(serve(int(sys.argv[1])))
