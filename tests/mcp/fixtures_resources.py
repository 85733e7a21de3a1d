"""The suite's resources, and its prompts with their completion: two small classes that any server can mount."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import mcp_types as types
from mcp.shared.exceptions import MCPError

from tests.mcp.fixture import Context, schema
from tests.mcp.fixtures_input import STRING, answered, ask
from tests.mcp.fixtures_tools import PIXEL

TEMPLATE = "test://template/{id}/data"


class FixtureResources:
    """Three resources and one template. Subscriptions (to 2025-11-25) are only remembered."""

    def __init__(self) -> None:
        self.subscribed: set[str] = set()

    async def list(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=uri, name=name, description=f"{name}, for tests.", mime_type=mime_type)
                for uri, name, mime_type in (
                    ("test://static-text", "Static text", "text/plain"),
                    ("test://static-binary", "Static binary", "image/png"),
                    ("test://watched-resource", "Watched resource", "text/plain"),
                )
            ]
        )

    async def templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template=TEMPLATE, name="Template", description="One per id.", mime_type="application/json"
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """An unknown address is -32602 with the address in `data.uri`, never an empty list of contents."""
        uri = params.uri
        if uri == "test://static-text":
            return _text(uri, "text/plain", "This is the content of the static text resource.")
        if uri == "test://static-binary":
            blob = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PIXEL)
            return types.ReadResourceResult(contents=[blob])
        if uri == "test://watched-resource":
            return _text(uri, "text/plain", "Watched resource content.")
        if found := re.fullmatch(r"test://template/([^/]+)/data", uri):
            body = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
            return _text(uri, "application/json", json.dumps(body))
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self.subscribed.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.subscribed.discard(params.uri)
        return types.EmptyResult()


def _text(uri: str, mime_type: str, body: str) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=mime_type, text=body)])


class FixturePrompts:
    """Five prompts, one of which asks the user first, and completion of an argument."""

    ARGUMENTS: ClassVar = {
        "test_simple_prompt": (),
        "test_prompt_with_arguments": ("arg1", "arg2"),
        "test_prompt_with_embedded_resource": ("resourceUri",),
        "test_prompt_with_image": (),
        "test_input_required_result_prompt": (),
    }

    async def list(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=name,
                    description=f"{name}, for tests.",
                    arguments=[types.PromptArgument(name=a, description=a, required=True) for a in arguments],
                )
                for name, arguments in self.ARGUMENTS.items()
            ]
        )

    async def get(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        given = params.arguments or {}
        match params.name:
            case "test_simple_prompt":
                return _prompt("This is a simple prompt for testing.")
            case "test_prompt_with_arguments":
                return _prompt(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'")
            case "test_prompt_with_embedded_resource":
                resource = types.TextResourceContents(
                    uri=given.get("resourceUri", ""),
                    mime_type="text/plain",
                    text="Embedded resource content for testing.",
                )
                return _prompt(types.EmbeddedResource(resource=resource), "Please process the embedded resource above.")
            case "test_prompt_with_image":
                return _prompt(types.ImageContent(data=PIXEL, mime_type="image/png"), "Please analyze the image above.")
            case "test_input_required_result_prompt":
                answer = answered(params, "user_context")
                if answer is None:
                    question = ask("What context should the prompt use?", schema(context=STRING))
                    return types.InputRequiredResult(input_requests={"user_context": question})
                return _prompt(f"Use this context: {answer.get('context')}")
        raise MCPError(types.INVALID_PARAMS, "Prompt not found", {"name": params.name})

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = [
            word for word in ("paris", "park", "party", "test1", "test2") if word.startswith(params.argument.value)
        ]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


def _prompt(*contents: types.ContentBlock | str) -> types.GetPromptResult:
    blocks = [types.TextContent(text=c) if isinstance(c, str) else c for c in contents]
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block) for block in blocks])
