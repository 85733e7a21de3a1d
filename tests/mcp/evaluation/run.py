"""Runs a goal with the official client, and tells what it took."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from mcp_types import ElicitResult

from tests.mcp.client import over_http
from tests.mcp.evaluation.assistant import Assistant, LostItsWay
from tests.mcp.evaluation.goals import Goal
from tests.support import Server


@dataclass(frozen=True)
class Outcome:
    """Cost of one goal."""

    goal: str
    reached: bool
    calls: int
    tokens: int
    dead_ends: tuple[str, ...]
    trail: tuple[str, ...]

    def __str__(self) -> str:
        mark = "reached" if self.reached else "MISSED"
        return f"{self.goal:22} {mark:8} {self.calls:3} calls {len(self.dead_ends):3} dead ends {self.tokens:6} tokens"


def attempt(house: Server, goal: Goal) -> Outcome:
    """Prepare a goal, have the assistant pursue it, and clear up."""
    name = f"goal-{goal.name}-{time.monotonic_ns() % 100_000}"
    goal.prepare(house, name)
    try:
        return asyncio.run(_pursue(house, goal, name))
    finally:
        _remove(house, name)


async def _pursue(house: Server, goal: Goal, name: str) -> Outcome:
    async with over_http(house, elicitation_callback=_agree) as client:
        tools = (await client.list_tools()).tools
        listed = {tool.name: bool(tool.annotations and tool.annotations.read_only_hint) for tool in tools}
        assistant = Assistant(client, listed)
        reached, failures = True, list[str]()
        try:
            await goal.pursue(assistant, name)
        except LostItsWay as lost:
            reached = False
            failures.append(str(lost).splitlines()[0])
        except AssertionError as missed:
            reached = False
            failures.append(f"not as expected: {missed}")
        dead_ends = tuple(dict.fromkeys([*assistant.dead_ends, *failures]))
        return Outcome(goal.name, reached, assistant.calls, assistant.tokens, dead_ends, tuple(assistant.trail))


async def _agree(context: Any, params: Any) -> Any:
    """The person behind the assistant, who is asked before something is lost for good."""
    return ElicitResult(action="accept", content={"confirm": True})


def _remove(house: Server, name: str) -> None:
    plan = house.call("apps.remove", {"appName": name})
    word = (plan.body.get("details") or {}).get("confirmation")
    if word:
        house.call("apps.remove", {"appName": name, "confirmation": word})


def table(outcomes: list[Outcome]) -> str:
    """All of them, a line each, with what went wrong below."""
    lines = [str(outcome) for outcome in outcomes]
    for outcome in outcomes:
        for dead_end in outcome.dead_ends:
            lines.append(f"  {outcome.goal}: {dead_end}")
    return "\n".join(lines)


__all__ = ["Outcome", "attempt", "table"]
