"""`python -m tests.mcp.evaluation [GOAL…]`: pursue the goals on a server of their own, and print a table."""

from __future__ import annotations

import sys

from tests import support
from tests.mcp.evaluation.goals import GOALS
from tests.mcp.evaluation.run import attempt, table


def main(names: list[str]) -> int:
    outcomes = []
    with support.server() as house:
        for goal in GOALS:
            if not names or goal.name in names:
                outcomes.append(attempt(house, goal))
                print(outcomes[-1], flush=True)
                for line in outcomes[-1].trail:
                    print("    ", line)
    print(table(outcomes))
    return 0 if all(outcome.reached and not outcome.dead_ends for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
