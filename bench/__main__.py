"""`make bench`: measure, print the table, and keep it in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

from bench.measure import Row
from bench.subjects import SUBJECTS, Bench, prepare
from ikoma import __version__
from ikoma.postgres.tools import bundled_version
from tests.support import server as started_server

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="IKOMA beside the alternative, in one run.")
    parser.add_argument("--only", choices=sorted(SUBJECTS), action="append", help="measure only this; repeatable")
    parser.add_argument("--quick", action="store_true", help="short and rough; docs/benchmarks.md stays as it is")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    rows: list[Row] = []
    with started_server() as server:
        prepare(server)
        bench = Bench(server, seconds=2 if options.quick else 6, runs=3 if options.quick else 7)
        for name in options.only or SUBJECTS:
            for row in SUBJECTS[name](bench):
                rows.append(row)
                print(line(row), flush=True)
    print(f"\n{sum(row.met for row in rows)} of {len(rows)} figures reach their targets.")
    if not options.only and not options.quick:
        PAGE.write_text(page(rows))
    sys.exit(0 if all(row.met for row in rows) else 1)


def page(rows: list[Row]) -> str:
    docker = subprocess.check_output(["docker", "version", "-f", "{{.Server.Version}}"], text=True).strip()
    table = "\n".join(line(row) for row in rows)
    return (
        "# Benchmarks\n\n"
        "Ours beside the alternative, in one run on one machine, medians of seven. The machine is small and noisy:"
        " the ratios are what counts. `make bench` measures anew.\n\n"
        f"{date.today().isoformat()}, IKOMA {__version__}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}, Docker Engine {docker}, PostgreSQL {bundled_version()}.\n\n"
        f"| what | IKOMA | the alternative | ratio | target | met |\n| --- | --- | --- | --- | --- | --- |\n{table}\n\n"
        "Status and health are live: each answer is newer than its question, and callers that ask at once share one\n"
        "look. Verification runs every check anew and logs in to the database; only what Compose makes of files whose\n"
        "bytes have not changed is remembered. deploy.up and raw Compose start the same resolved file from nothing.\n"
    )


def line(row: Row) -> str:
    return f"| {row.what} | {row.ours} | {row.other} | {row.ratio} | {row.target} | {'yes' if row.met else 'NO'} |"


if __name__ == "__main__":
    main()
