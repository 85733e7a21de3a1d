"""The runbook's procedures as prompts: each a plan for a model, naming the capabilities to call and when to stop.

The texts are Markdown files in `procedures/`: a title, a description, what it needs, then the plan. A key that may not
call what a plan needs is not offered it; a step that names what the key may not call is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
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
from ikoma.kernel.registry import Capability, registry
from ikoma.kernel.requests import MOST_LISTED
from ikoma.transports.mcp.calls import Calls, McpConnection, ToolCall
from ikoma.transports.mcp.tools import choose, make_tool_name

_TEMPLATES = ("node", "python", "static", "dockerfile")
_ARGUMENTS = {
    "appName": "The app's name: lower-case letters, digits, - and _.",
    "template": f"What the app is made of: {', '.join(_TEMPLATES)}.",
    "backupName": "The backup's file name, ending .sql or .sql.zst; the newest when left out.",
}
_OPTIONAL = frozenset({"template", "backupName"})
_LONGEST = 200
_UNLISTED = (
    "Not in your list of tools, but callable: {names}. Call them all the same. Where your host does not let you, the "
    "person adds `?toolsets=all` to the server's address (`--toolsets all` over stdio)."
)


@dataclass(frozen=True, slots=True)
class Procedure:
    """One plan. `arguments` are the names that its text holds in braces; without what it `needs` there is none."""

    name: str
    title: str
    description: str
    needs: frozenset[str]
    text: str

    @property
    def arguments(self) -> list[str]:
        return [name for name in _ARGUMENTS if f"{{{name}}}" in self.text]


class Prompts:
    """Lists and fills in the procedures."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list_prompts(self, who: McpConnection) -> ListPromptsResult:
        may_call = await self._may_call(who)
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
                for procedure in read_procedures().values()
                if procedure.needs <= may_call.keys()
            ]
        )

    async def get(self, who: McpConnection, params: GetPromptRequestParams) -> GetPromptResult:
        """The plan for these arguments; NotFound or InvalidArguments where it can't be made."""
        may_call = await self._may_call(who)
        procedure = read_procedures().get(params.name)
        if procedure is None or not procedure.needs <= may_call.keys():
            raise NotFound(f"There is no prompt {params.name[:80]!r} for this key.", hint="prompts/list shows them.")
        given = {name: value for name, value in (params.arguments or {}).items() if value}
        if missing := [name for name in procedure.arguments if name not in given and name not in _OPTIONAL]:
            raise InvalidArguments(f"{missing[0]}: is missing.", hint=f"{params.name} takes {missing[0]}.")
        for name, value in given.items():
            if not re.fullmatch(r"[\w.-]+", value, re.ASCII) or len(value) > _LONGEST:
                raise InvalidArguments(f"{name[:40]}: {value[:40]!r} is no name.")
        values = {"template": "node", "backupName": "the newest backup"} | given
        listed = {item.name for item in choose([*may_call.values()], who.toolsets)}
        text = fit_text(procedure.text, may_call.keys(), listed)
        text = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)
        message = PromptMessage(role="user", content=TextContent(text=text))
        return GetPromptResult(description=procedure.description, messages=[message])

    async def _may_call(self, who: McpConnection) -> dict[str, Capability]:
        """The capabilities that the key may call, by name; refuses a key that is no longer valid."""
        return {item.name: item for item in await self._calls.list_visible(who)}

    async def complete(self, who: McpConnection, params: CompleteRequestParams) -> Sequence[str]:
        """Values that begin with what is there."""
        name = params.argument.name
        values: Sequence[str] = _TEMPLATES if name == "template" else []
        if name == "appName":
            answer = await self._calls.execute(ToolCall(who, "apps.list", {"limit": MOST_LISTED}))
            values = [app["name"] for app in orjson.loads(answer.body)["apps"]]
        return [value for value in values if value.startswith(params.argument.value)]


def fit_text(text: str, may_call: Collection[str], listed: Collection[str]) -> str:
    """A plan without the steps that the key may not do, and with how to reach the tools that are not listed."""
    lines: list[str] = []
    number, unlisted = 0, dict[str, None]()
    for line in text.splitlines():
        named = _name_arguments(line)
        if not named <= set(may_call):
            continue
        if re.match(r"[0-9]+\. ", line):
            number += 1
            line = f"{number}. {line.partition('. ')[2]}"
        unlisted |= dict.fromkeys(sorted(named - set(listed)))
        lines.append(line)
    if unlisted:
        names = ", ".join(f"`{make_tool_name(name)}`" for name in unlisted)
        lines += ["", _UNLISTED.format(names=names)]
    return "\n".join(lines) + "\n"


def _name_arguments(line: str) -> set[str]:
    """The capabilities that a line names as tools."""
    known = {make_tool_name(name): name for name in registry.list_names()}
    return {known[word] for word in re.findall(r"`(\w+)`", line) if word in known}


@lru_cache(maxsize=1)
def read_procedures() -> dict[str, Procedure]:
    """All of them by name."""
    found = {}
    for file in sorted(files("ikoma.transports.mcp").joinpath("procedures").iterdir(), key=lambda item: item.name):
        if file.name.endswith(".md"):
            title, description, needs, text = file.read_text(encoding="utf-8").split("\n\n", 3)
            name = file.name.removesuffix(".md")
            needed = frozenset(needs.removeprefix("Needs ").rstrip(".").split())
            found[name] = Procedure(name, title.removeprefix("# "), description, needed, text)
    return found
