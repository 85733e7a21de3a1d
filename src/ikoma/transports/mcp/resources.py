"""Resources that can be read without choosing a tool: each app from several sides, and the platform's health.

A resource is a reading capability under an address. Who may not call the one does not see the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from mcp_types import (
    CompleteRequestParams,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from ikoma.errors import NotFound
from ikoma.kernel.events import Event
from ikoma.kernel.requests import MOST_LISTED
from ikoma.transports.mcp.calls import Calls, McpConnection, ToolCall
from ikoma.transports.mcp.wording import answers

_PAGE = 50
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class View:
    """One side of an app: the capability that shows it, and what of its result is shown."""

    capability: str
    description: str
    arguments: Mapping[str, Any]
    mime_type: str = _JSON
    field: str | None = None


VIEWS = {
    "status": View("apps.status", "Services, health, database, release and addresses of {app}.", {}),
    "runbook": View(
        "artifact.generate_runbook", "How {app} is operated, as it is now.", {}, "text/markdown", "markdown"
    ),
    "compose": View("files.read", "The compose file of {app}.", {}, "application/yaml", "content"),
    "environment": View("env.list", "Names of the environment variables of {app}, never their values.", {}),
    "releases": View("release.list", "The releases of {app}, newest first.", {}),
    "audit": View("audit.query", "What was done to {app}, tried and refused.", {"limit": 50}),
}
_HEALTH = "ikoma://platform/health"
_ADDRESS = re.compile(r"ikoma://apps/([^/]+)/([a-z]+)")


class Resources:
    """Lists and reads them, as far as the caller may."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list_resources(self, who: McpConnection, params: PaginatedRequestParams | None) -> ListResourcesResult:
        allowed = await self._list_allowed(who, counts=False)
        found: list[Resource] = []
        if "platform.check" in allowed:
            found.append(
                Resource(
                    uri=_HEALTH,
                    name="platform health",
                    description="Whether Docker, PostgreSQL and the apps' folder are usable.",
                    mime_type=_JSON,
                )
            )
        apps = await self._list_apps(who)
        start = _place(params, len(apps))
        for app in apps[start : start + _PAGE]:
            found += [_make_resource(app, name, view) for name, view in VIEWS.items() if view.capability in allowed]
        more = str(start + _PAGE) if start + _PAGE < len(apps) else None
        return ListResourcesResult(resources=found if start == 0 else found[1:], next_cursor=more)

    async def list_templates(self, who: McpConnection) -> ListResourceTemplatesResult:
        allowed = await self._list_allowed(who)
        return ListResourceTemplatesResult(
            resource_templates=[
                ResourceTemplate(
                    uri_template=f"ikoma://apps/{{appName}}/{name}",
                    name=f"app {name}",
                    description=view.description.format(app="an app"),
                    mime_type=view.mime_type,
                )
                for name, view in VIEWS.items()
                if view.capability in allowed
            ]
        )

    async def read(self, who: McpConnection, uri: str) -> ReadResourceResult:
        """The content now; raises NotFound, or why this caller may not read it."""
        if uri == _HEALTH:
            return await self._read_content(who, uri, View("platform.check", "", {}), {})
        match = _ADDRESS.fullmatch(uri)
        view = VIEWS.get(match[2]) if match else None
        if match is None or view is None:
            raise NotFound(f"There is no resource {uri[:200]!r}.", hint="resources/list shows them.")
        return await self._read_content(who, uri, view, {**view.arguments, "appName": match[1]})

    async def complete(self, who: McpConnection, params: CompleteRequestParams) -> Sequence[str]:
        """Names of apps that begin with what is there."""
        if params.argument.name != "appName":
            return []
        return [app for app in await self._list_apps(who) if app.startswith(params.argument.value)]

    @staticmethod
    def list_touched(event: Event) -> list[str]:
        """The addresses whose content an event may have changed."""
        return [f"ikoma://apps/{event.app}/{name}" for name in VIEWS] if event.app else []

    async def _read_content(
        self, who: McpConnection, uri: str, view: View, arguments: Mapping[str, Any]
    ) -> ReadResourceResult:
        allowed = await self._calls.list_visible(who, counts=False)
        found = next((item for item in allowed if item.name == view.capability), None)
        answer = await self._calls.execute(
            ToolCall(who, view.capability, arguments)
        )  # says why where the caller may not
        assert found is not None
        text = answers.word_document(found, answer.body, view.field)
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=view.mime_type, text=text)])

    async def _list_apps(self, who: McpConnection) -> list[str]:
        answer = await self._calls.execute(ToolCall(who, "apps.list", {"limit": MOST_LISTED}))
        return [app["name"] for app in orjson.loads(answer.body)["apps"]]

    async def _list_allowed(self, who: McpConnection, *, counts: bool = True) -> set[str]:
        return {item.name for item in await self._calls.list_visible(who, counts=counts)}


def _make_resource(app: str, name: str, view: View) -> Resource:
    return Resource(
        uri=f"ikoma://apps/{app}/{name}",
        name=f"{app} {name}",
        description=view.description.format(app=app),
        mime_type=view.mime_type,
    )


def _place(params: PaginatedRequestParams | None, length: int) -> int:
    cursor = params.cursor if params else None
    if cursor is None:
        return 0
    if not cursor.isdecimal() or int(cursor) >= max(length, 1):
        raise NotFound("This cursor leads nowhere.", hint="Begin again without a cursor.")
    return int(cursor)
