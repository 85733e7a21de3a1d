"""The table, on a terminal while it grows and in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import Figure

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

_INTRODUCTION = """# Benchmarks

IKOMA beside the alternative a control plane would otherwise use, measured by `make bench` in one run on one machine:
the two alternate, a figure is the ratio of their medians, and the numbers in brackets are the fastest and the slowest.
Absolute numbers differ from machine to machine; ratios hardly do. `make bench ARGS="--only deploys"` measures one
subject, `--quick` fewer rounds; only a whole run writes this page.
"""

_LONG_LOAD = "## Under load for an hour"

_SUBJECTS = """
What is compared with what:

- **Reads**: 16 clients call over kept connections for some seconds; 16 others each spawn `docker compose -p APP ps
  --format json` over and over. (Compose's own binary, without the docker command around it, is about twice as fast.)
  Every answer is newer than its question; callers at the same time share one look. `artifact.verify_release` runs every
  check live. The bare route of Starlette checks a key, parses the body and appends a line to a file, and no more.
- **MCP**: `platform_info` called by 16 clients (over stdio: 16 calls under way), with key, role and audit, against
  the SDK's bare low-level server that returns the same bytes to anyone. Over stdio, `ikoma mcp` passes the lines on to
  the running server.
- **Audit**: changing calls by 64 callers on different apps, through the whole pipeline with its journal. The intent of
  each is on the disk before it acts (an fsync, shared by those who wait at the same time); beside it the same pipeline
  with a log that leaves that to the kernel. Over HTTP: `operations.cancel` of an operation that has ended.
- **deploy.up**: validation, release record, health path and runbook included, against Compose alone on the file that
  IKOMA resolved. The app has a healthcheck every second, so about a second of each is waiting for the first.
- **Proxy**: as IKOMA runs it, with its access log, against the same request without it. Added time: one client, one
  request after the other, for a small file. Requests per second: an app that works for a millisecond before it answers;
  in brackets files, where passing on is more work than answering. Clients, proxy and app share the machine.
- **Rollbacks**: one app, a healthcheck every second; 200 requests a second over 10 kept connections, none repeated by
  the client. A request counts as failed where it was not answered whole with 200.
- **db.backup**: row counts from the dump's own snapshot and a SHA-256 included, against `pg_dump -f`; neither with its
  flush. The whole call flushes the file, reads every table once more for its checksum, and restores it beside.
- **db.restore of a table**: a session inserts a row into it every 20 ms meanwhile, so that it is dumped once more while
  writers wait; in the other case nobody writes to it, and its rows are compared alone.
- **db.restore to a second**: recovered beside from the base backup and the log, taken out, loaded, compared, swapped;
  most of the cluster and of the log is another app's. The moment lies in the middle of the log.
- **db.migrate**: one file, one transaction, in fresh databases, as an app's role; with its entry in the ledger.
- **Snapshots**: what a release keeps of the source, with the tree that its containers mount; the size of twenty
  releases over that of the first. A change is of a whole file: one byte changed in a large file keeps the file again,
  unless the filesystem shares blocks (XFS, Btrfs).
- **Memory**: resident memory of the server process; PostgreSQL's and the containers' is their own. The first MCP client
  has the SDK loaded, which takes about 20 MiB more.
"""


def row(figure: Figure) -> str:
    """A figure as a line for the terminal."""
    sides = f"{figure.ours} against {figure.beside}" if figure.beside else figure.ours
    return f"{figure.mark} {figure.shown:>12}  {figure.shown_target:>12}  {figure.what}  [{sides}]"


def heading() -> str:
    return f"  {'figure':>12}  {'target':>12}"


def write(figures: Sequence[Figure], facts: Mapping[str, str]) -> None:
    """Write the page anew; what was noted of a long load stays, since no run of this measures it."""
    _, mark, noted = PAGE.read_text().partition(_LONG_LOAD)
    PAGE.write_text(f"{page(figures, facts)}\n{mark}{noted}" if mark else page(figures, facts))


def page(figures: Sequence[Figure], facts: Mapping[str, str]) -> str:
    lines = [_INTRODUCTION, "| what | IKOMA | beside it | figure | target | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {item.what} | {item.ours} | {item.beside or '–'} | **{item.shown}** | {item.shown_target} | {item.mark} |"
        for item in figures
    ]
    measured = (
        "Measured "
        + facts["date"]
        + " on "
        + "; ".join(
            f"{name} {value}" if name not in ("processor",) else value
            for name, value in facts.items()
            if name != "date"
        )
    )
    return "\n".join([*lines, _SUBJECTS, measured + ".", ""])
