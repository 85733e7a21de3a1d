"""`python -m bench`: measure, print the table as it grows, write docs/benchmarks.md.

The exit code is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping

from bench import report
from bench.audit import audit
from bench.backups import backups
from bench.deploys import deploys, rollbacks
from bench.dump_formats import dump_formats
from bench.figures import Figure
from bench.machine import facts
from bench.mcp import mcp
from bench.migrations import migrations
from bench.offsite import offsite
from bench.point_in_time import point_in_time
from bench.proxy import proxy
from bench.reads import reads
from bench.snapshots import snapshots
from bench.starts import commands, starts
from bench.table_restores import table_restores
from bench.world import World, world

SUBJECTS: Mapping[str, Callable[[World], Iterator[Figure]]] = {
    "starts": starts,
    "reads": reads,
    "mcp": mcp,
    "deploys": deploys,
    "rollbacks": rollbacks,
    "proxy": proxy,
    "audit": audit,
    "backups": backups,
    "table restores": table_restores,
    "dump formats": dump_formats,
    "off-site": offsite,
    "point in time": point_in_time,
    "migrations": migrations,
    "snapshots": snapshots,
    "commands": commands,
}


def main() -> int:
    options = _options()
    figures: list[Figure] = []
    print(report.heading(), flush=True)
    with world(quick=options.quick) as made:
        for name in options.only or SUBJECTS:
            for figure in SUBJECTS[name](made):
                print(report.row(figure), flush=True)
                figures.append(figure)
    missed = [figure for figure in figures if not figure.reached]
    print(f"{len(figures) - len(missed)} of {len(figures)} reached")
    if not options.only and not options.quick:
        report.write(figures, facts())
        print("Written: docs/benchmarks.md")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure IKOMA beside the alternative.")
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="measure this subject alone (repeatable)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; nothing is written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
