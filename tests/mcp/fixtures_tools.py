"""The suite's plain tools: contents of each kind, errors, logs, progress, a broken stream, headers from arguments."""

from __future__ import annotations

import asyncio

import mcp_types as types
from mcp.server.subscriptions import PromptsListChanged, SubscriptionBus, ToolsListChanged

from tests.mcp.fixture import Context, Fixture, Outcome, schema, text

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


async def simple_text(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return text("This is a simple text response for testing.")


async def image(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return types.CallToolResult(content=[types.ImageContent(data=PIXEL, mime_type="image/png")])


async def audio(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return types.CallToolResult(content=[types.AudioContent(data=SILENCE, mime_type="audio/wav")])


async def embedded_resource(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return types.CallToolResult(
        content=[_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]
    )


async def mixed_content(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return types.CallToolResult(
        content=[
            types.TextContent(text="Multiple content types test:"),
            types.ImageContent(data=PIXEL, mime_type="image/png"),
            _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        ]
    )


def _embedded(uri: str, mime_type: str, body: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=body))


async def always_fails(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return text("This tool intentionally returns an error for testing", error=True)


async def with_logging(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
        await asyncio.sleep(0.05)
    return text("Logged three times.")


async def one_log_line(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    """Logs once; on 2026-07-28 that may reach only a request that asked for a level, which the SDK sees to."""
    await ctx.session.send_log_message("info", "A line nobody asked for", related_request_id=ctx.request_id)
    return text("Logged once.")


async def with_progress(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    for progress in (0, 50, 100):
        await ctx.session.report_progress(progress, 100, f"{progress} of 100")
        await asyncio.sleep(0.05)
    return text("Went from 0 to 100.")


async def reconnection(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    """Ends its own stream half way; the client takes the result by reconnecting with Last-Event-ID."""
    await asyncio.sleep(0.05)
    if ctx.close_sse_stream is not None:  # only with an event store, and never on 2026-07-28
        await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return text("Reconnection test completed.")


async def full_schema(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return text(f"Got {sorted(params.arguments or {})}")


async def header_param(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    return text(f"Region: {(params.arguments or {}).get('region')}")


def change_tools(bus: SubscriptionBus) -> dict[str, Fixture]:
    """Two tools that say on `bus` that a list has changed. (It has not: clients only need to hear of it.)"""

    async def trigger_tool_change(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        await bus.publish(ToolsListChanged())
        return text("Said that the list of tools has changed.")

    async def trigger_prompt_change(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        await bus.publish(PromptsListChanged())
        return text("Said that the list of prompts has changed.")

    return _by_name(
        Fixture("test_trigger_tool_change", "Announces a change of the tool list.", trigger_tool_change),
        Fixture("test_trigger_prompt_change", "Announces a change of the prompt list.", trigger_prompt_change),
    )


def _by_name(*fixtures: Fixture) -> dict[str, Fixture]:
    return {fixture.name: fixture for fixture in fixtures}


# The first one listed is called without arguments by http-header-validation, and must succeed.
PLAIN_TOOLS = _by_name(
    Fixture("test_simple_text", "Returns one text.", simple_text),
    Fixture("test_image_content", "Returns one image.", image),
    Fixture("test_audio_content", "Returns one sound.", audio),
    Fixture("test_embedded_resource", "Returns one embedded resource.", embedded_resource),
    Fixture("test_multiple_content_types", "Returns text, image and resource.", mixed_content),
    Fixture("test_error_handling", "Always returns an error.", always_fails),
    Fixture("test_tool_with_logging", "Logs three lines while running.", with_logging),
    Fixture("test_logging_tool", "Logs one line.", one_log_line),
    Fixture("test_tool_with_progress", "Reports progress while running.", with_progress),
    Fixture("test_reconnection", "Breaks its own stream before the result.", reconnection),
    Fixture("json_schema_2020_12_tool", "Has an input schema of many JSON Schema words.", full_schema, SCHEMA_2020_12),
    Fixture(
        "test_header_param",
        "Has an argument that HTTP clients repeat in the header Mcp-Param-Region.",
        header_param,
        schema(region={"type": "string", "x-mcp-header": "Region"}),
    ),
)
