"""The runbook's procedures as prompts: each a plan for a model, naming the capabilities to call and when to stop.

The texts are Markdown files in `procedures/`: a title line, arguments, then the plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import orjson
from mcp_types import (
    CompleteRequestParams,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from ikoma.errors import InvalidArguments, NotFound
from ikoma.kernel.registry import MOST_LISTED
from ikoma.transports.mcp.calls import Ask, Calls, Connection

_TEMPLATES = ("node", "python", "static", "dockerfile")
_ARGUMENTS = {
    "appName": "The app's name: lower-case letters, digits, - and _.",
    "template": f"What the app is made of: {', '.join(_TEMPLATES)}.",
    "backupName": "The backup's file name, ending .sql; the newest when left out.",
}
_OPTIONAL = frozenset({"template", "backupName"})
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Procedure:
    """One plan. `arguments` are the names that its text holds in braces."""

    name: str
    title: str
    description: str
    text: str

    @property
    def arguments(self) -> list[str]:
        return [name for name in _ARGUMENTS if f"{{{name}}}" in self.text]


class Prompts:
    """Lists and fills in the procedures."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def listing(self, who: Connection) -> ListPromptsResult:
        await self._calls.visible(who)  # refuses a key that is no longer valid
        return ListPromptsResult(
            prompts=[
                Prompt(
                    name=procedure.name,
                    title=procedure.title,
                    description=procedure.description,
                    arguments=[
                        PromptArgument(name=name, description=_ARGUMENTS[name], required=name not in _OPTIONAL)
                        for name in procedure.arguments
                    ],
                )
                for procedure in procedures().values()
            ]
        )

    async def get(self, who: Connection, params: GetPromptRequestParams) -> GetPromptResult:
        """The plan for these arguments; NotFound or InvalidArguments where it can't be made."""
        await self._calls.visible(who)
        procedure = procedures().get(params.name)
        if procedure is None:
            raise NotFound(f"There is no prompt {params.name[:80]!r}.", hint="prompts/list shows them.")
        given = {name: value for name, value in (params.arguments or {}).items() if value}
        if missing := [name for name in procedure.arguments if name not in given and name not in _OPTIONAL]:
            raise InvalidArguments(f"{missing[0]}: is missing.", hint=f"{params.name} takes {missing[0]}.")
        for name, value in given.items():
            if not re.fullmatch(r"[\w.-]+", value, re.ASCII) or len(value) > _LONGEST:
                raise InvalidArguments(f"{name[:40]}: {value[:40]!r} is no name.")
        values = {"template": "node", "backupName": "the newest backup"} | given
        text = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), procedure.text)
        message = PromptMessage(role="user", content=TextContent(text=text))
        return GetPromptResult(description=procedure.description, messages=[message])

    async def complete(self, who: Connection, params: CompleteRequestParams) -> Sequence[str]:
        """Values that begin with what is there."""
        name = params.argument.name
        values: Sequence[str] = _TEMPLATES if name == "template" else []
        if name == "appName":
            answer = await self._calls.execute(Ask(who, "apps.list", {"limit": MOST_LISTED}))
            values = [app["name"] for app in orjson.loads(answer.body)["apps"]]
        return [value for value in values if value.startswith(params.argument.value)]


@lru_cache(maxsize=1)
def procedures() -> dict[str, Procedure]:
    """All of them by name."""
    found = {}
    for file in sorted(files("ikoma.transports.mcp").joinpath("procedures").iterdir(), key=lambda item: item.name):
        if file.name.endswith(".md"):
            title, description, text = file.read_text(encoding="utf-8").split("\n\n", 2)
            name = file.name.removesuffix(".md")
            found[name] = Procedure(name, title.removeprefix("# "), description, text)
    return found
