"""A scripted assistant that knows nothing of IKOMA: it makes the call that an answer names next, and no other.

What the goal itself knows (names, texts of files, whether a person agrees) it fills in. It counts its calls, the tokens
that it sends and reads, and its dead ends: a failure that names no next call, a next call that is not there or fails by
its own arguments, one that was made before and changes nothing, and a tool that a text names and nobody lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from mcp.client.client import Client
from mcp_types import CallToolResult, TextContent

MOST_CALLS = 15
_UNTRUSTED = re.compile(r"<(untrusted-[0-9a-f]+)[^>]*>.*?</\1>", re.DOTALL)
_BY_ITSELF = frozenset({"invalid_arguments", "unknown_capability", "role_too_low", "out_of_scope"})
"""Codes that say that the call itself was wrong."""

Call = tuple[str, Mapping[str, Any]]


class LostItsWay(AssertionError):
    """The assistant does not know what to do next."""


@dataclass(frozen=True)
class Reply:
    """Result of a call, as an assistant sees it."""

    tool: str
    arguments: Mapping[str, Any]
    failed: bool
    fields: Mapping[str, Any]
    text: str

    @property
    def code(self) -> str:
        return str(self.fields.get("code", "")) if self.failed else ""

    @property
    def next(self) -> Call | None:
        """The call that the answer names."""
        step = self.fields.get("next")
        return (step["tool"], step.get("arguments") or {}) if isinstance(step, dict) and "tool" in step else None

    @property
    def ours(self) -> str:
        """Return what IKOMA itself says: the text without what others wrote."""
        return _UNTRUSTED.sub("", self.text)


Knows = Callable[[Reply, str, Mapping[str, Any]], Mapping[str, Any] | None]
"""Fills in what the goal knows of the call that comes next; None where it has nothing to say of it."""
Mends = Callable[[Reply], Call | None]
"""Turns a finding into the goal's next step: the call that mends it."""


@dataclass
class Assistant:
    """One conversation about one goal.

    Args:
        listed: the tools that there are → whether they only read.
        knows: tool → the arguments that the goal knows for it, each of several calls in its turn.
        mends: what to do about what an answer finds.
    """

    client: Client
    listed: Mapping[str, bool]
    knows: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    mends: Sequence[Mends] = ()
    calls: int = 0
    sent: int = 0
    read: int = 0
    dead_ends: list[str] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    @property
    def tokens(self) -> int:
        """Characters of what was sent and read, by four."""
        return (self.sent + self.read) // 4

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Reply:
        """Make one call, and look at the answer as critically as a reader would."""
        self.calls += 1
        result = await self.client.call_tool(tool, dict(arguments))
        assert isinstance(result, CallToolResult)
        reply = _reply(tool, arguments, result)
        shown = orjson.dumps(result.structured_content) if result.structured_content is not None else b""
        self.sent += len(tool) + len(orjson.dumps(dict(arguments)))
        self.read += max(len(reply.text), len(shown))
        self.trail.append(f"{tool} {_shortly(arguments)} → {reply.code or reply.text.splitlines()[0][:100]}")
        for name in sorted(self._unlisted(reply.ours) - {reply.code}):
            self._dead_end(f"{tool} names {name}, which is not listed")
        return reply

    async def pursue(self, tool: str, arguments: Mapping[str, Any], until: Callable[[Reply], bool]) -> Reply:
        """Begin with one call, and follow what the answers say until the goal is reached."""
        reply = await self.call(tool, arguments)
        while not until(reply):
            if self.calls >= MOST_CALLS:
                raise LostItsWay("\n".join(["too many calls", *self.trail]))
            if reply.failed:
                reply = await self._look(reply)
            step = self._step(reply)
            followed = await self.call(*step)
            if followed.failed and followed.code in _BY_ITSELF:
                self._dead_end(f"{reply.tool} led to {step[0]}, which failed: {followed.text[:200]}")
            reply = followed
        return reply

    async def _look(self, failed: Reply) -> Reply:
        """Follow what a failure names, where that only reads: what it says and what is seen there is one answer."""
        if failed.next is None:
            self._dead_end(f"{failed.tool} failed with {failed.code} and names no next call")
            return failed
        tool, arguments = failed.next
        if not self.listed.get(tool):
            return failed
        seen = await self.call(tool, arguments)
        if seen.failed:
            self._dead_end(
                f"{failed.tool} failed with {failed.code} and leads to {tool}, which fails: {seen.text[:200]}"
            )
        return replace(seen, text=f"{failed.text}\n{seen.text}", fields={**seen.fields, "failure": failed.fields})

    def _step(self, reply: Reply) -> Call:
        for mend in self.mends:
            if (found := mend(reply)) is not None:
                self._seen.clear()  # something changes: what was looked at before may be worth a look again
                return found
        step = reply.next
        if step is None:
            what = f"{reply.tool} ended in {reply.code or 'success'} and names no next call: {reply.text[:300]}"
            self._dead_end(what)
            raise LostItsWay("\n".join([what, *self.trail]))
        tool, arguments = step
        if tool not in self.listed:
            self._dead_end(f"{reply.tool} leads to {tool}, which is not listed")
        known = self.knows.get(tool) or []
        if known:
            arguments = {**arguments, **known.pop(0)}
        mark = orjson.dumps([tool, arguments, reply.tool, reply.code], option=orjson.OPT_SORT_KEYS)
        if mark in self._seen and tool != "operations_wait":
            self._dead_end(f"{reply.tool} leads to {tool} a second time")
        self._seen.add(mark)
        return tool, arguments

    def _dead_end(self, what: str) -> None:
        self.dead_ends.append(what)

    def _unlisted(self, text: str) -> set[str]:
        """Tools that a text names and that nobody lists; capabilities in the words of another door."""
        spaces = "|".join(sorted({name.partition("_")[0] for name in self.listed}))
        named = set(re.findall(rf"(?<![\w./-])(?:{spaces})[_.][a-z]+(?:[_.][a-z]+)*\b(?![(/=-])", text))
        return {name for name in named if name not in self.listed and not name.endswith(_ENDINGS)}


_ENDINGS = (".py", ".sql", ".yml", ".yaml", ".md", ".json", ".sh", ".js", ".txt", ".localhost", "_name", "_id")


def _reply(tool: str, arguments: Mapping[str, Any], result: CallToolResult) -> Reply:
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    failed = bool(result.is_error)
    fields = orjson.loads(text) if failed else result.structured_content or {}
    if not failed and not fields and (found := re.search(r"^Next: (\w+) (\{.*\})$", text, re.MULTILINE)):
        fields = {"next": {"tool": found[1], "arguments": orjson.loads(found[2])}}
    return Reply(tool, arguments, failed, fields, text)


def _shortly(arguments: Mapping[str, Any]) -> str:
    return orjson.dumps({name: str(value)[:30] for name, value in arguments.items()}).decode()
