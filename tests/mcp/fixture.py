"""The shape of a test tool, which any MCP server built on the official SDK can mount.

A `Fixture` is data (name, description, input schema) and one async function over the SDK's own types. It knows nothing
of the server it runs in, so the same fixture proves the SDK's bare server and our adapter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Context = ServerRequestContext[Any, Any]
Outcome = types.CallToolResult | types.InputRequiredResult | dict[str, Any]
Run = Callable[[Context, types.CallToolRequestParams], Awaitable[Outcome]]

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True)
class Fixture:
    """One test tool. `run` may also return a plain dict: the extension's own result, such as `resultType: "task"`."""

    name: str
    description: str
    run: Run
    input_schema: Mapping[str, Any] = field(default_factory=lambda: dict(NO_ARGUMENTS))

    def listed(self) -> types.Tool:
        return types.Tool(name=self.name, description=self.description, input_schema=dict(self.input_schema))


def text(*lines: str, error: bool = False) -> types.CallToolResult:
    content = [types.TextContent(text=line) for line in lines]
    return types.CallToolResult(content=content, is_error=error)


def is_modern(ctx: Context) -> bool:
    """Whether this request speaks 2026-07-28 or newer: no handshake, no requests from server to client."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def missing_capability(**required: Any) -> MCPError:
    """The error a server owes a client that has not declared what the call cannot do without (HTTP 400)."""
    named = ", ".join(required)
    return MCPError(
        types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"This call needs a client capability that was not declared: {named}",
        {"requiredCapabilities": required},
    )


def schema(required: list[str] | None = None, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}
