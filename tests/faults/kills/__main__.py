"""`python -m tests.faults.kills`: the trial with as many kills as one has time for."""

from __future__ import annotations

import argparse

from tests.faults.kills.trial import KINDS, choose, run
from tests.faults.server_observations import SEED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", action="append", choices=list(KINDS), default=[])
    given = parser.parse_args()
    print(f"seed {given.seed}")
    for what, number in sorted(run(choose(given.kills, given.kind), given.seed).items()):
        print(f"{number:6}  {what}")
    print(f"seed {given.seed}: nothing was lost, nothing is left over")


if __name__ == "__main__":
    main()
