"""Each goal in at most fourteen calls, with no dead end, and for so many tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import support
from tests.mcp.evaluation.assistant import MOST_CALLS
from tests.mcp.evaluation.goals import GOALS, Goal
from tests.mcp.evaluation.run import Outcome, attempt, table
from tests.support import Server

MOST_TOKENS = 2500
"""Limit of one goal: its calls, and all that their answers hold."""

OUTCOMES: list[Outcome] = []


@pytest.fixture(scope="module")
def house() -> Iterator[Server]:
    with support.server() as server:
        yield server


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_an_assistant_reaches_it_without_a_dead_end(house: Server, goal: Goal) -> None:
    outcome = attempt(house, goal)
    OUTCOMES.append(outcome)
    assert outcome.reached, table([outcome])
    assert not outcome.dead_ends, table([outcome])
    assert outcome.calls <= MOST_CALLS, outcome.trail
    assert outcome.tokens <= MOST_TOKENS, table([outcome])


def test_there_are_fourteen_and_what_they_took_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("", table(OUTCOMES), sep="\n")
    assert len({goal.name for goal in GOALS}) == 14
