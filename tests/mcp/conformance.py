"""Runs the protocol's conformance suite against a server, and counts what it found.

    python -m tests.mcp.conformance URL [--revision 2026-07-28] [--expected-failures FILE] [--record FILE]

The suite itself sends no key: for a server that wants one, see keyed.py. A server without the fixtures cannot pass what
needs them: `--record` writes what failed as a list for `--expected-failures`, one `scenario:check` a line, to be read
before it is kept. With a list a warning counts as a failure, and a listed check that passes after all fails the run; a
list is for one revision.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.mcp.node import CONFORMANCE, run_node

REVISIONS = ("2025-11-25", "2026-07-28")


@dataclass(frozen=True)
class Verdict:
    """Verdict of one run of the suite. `exit_code` 0: every scored scenario passed, or failed as expected."""

    revision: str
    exit_code: int
    scenarios: int
    passed: int
    failed: int
    warned: int
    skipped: int
    problems: tuple[str, ...]
    """Each check that failed or warned, and why."""
    unmet: tuple[str, ...]
    """Checks of the scored scenarios, as `scenario:check`, each once: as a list of expected failures names them."""
    output: str

    def __str__(self) -> str:
        counts = f"{self.passed} checks passed, {self.failed} failed, {self.warned} warned, {self.skipped} skipped"
        return "\n".join([f"MCP {self.revision}: {counts} in {self.scenarios} scenarios", *self.problems])


def check(
    url: str, revision: str, *, expected_failures: Path | None = None, scenario: str | None = None, timeout: float = 300
) -> Verdict:
    """Run what `revision` requires, or one `scenario` of it, against the server at `url` (an address of this host)."""
    selection = ["--scenario", scenario, "--spec-version", revision] if scenario else ["--requirements", revision]
    baseline = ["--expected-failures", str(expected_failures.resolve())] if expected_failures else []
    with tempfile.TemporaryDirectory(prefix="ikoma-conformance-") as folder:
        results = Path(folder) / "results"
        ran = run_node(
            CONFORMANCE,
            *("server", "--url", url, *selection, "--output-dir", str(results), *baseline),
            cwd=Path(folder),
            timeout=timeout,
        )
        checks = list(_checks(results))
    not_scored = _not_scored(revision)
    counts = Counter(each.status for each in checks)
    return Verdict(
        revision=revision,
        exit_code=ran.returncode,
        scenarios=len({each.scenario for each in checks}),
        passed=counts["SUCCESS"],
        failed=counts["FAILURE"],
        warned=counts["WARNING"],
        skipped=counts["SKIPPED"],
        problems=tuple(f"  {each.status} {each.name} {each.said}" for each in checks if each.unmet),
        unmet=tuple(sorted({each.name for each in checks if each.unmet and each.scenario not in not_scored})),
        output=ran.stdout + ran.stderr,
    )


@dataclass(frozen=True)
class _Check:
    scenario: str
    name: str
    status: str
    said: str

    @property
    def unmet(self) -> bool:
        return self.status in ("FAILURE", "WARNING")


def _checks(results: Path) -> Iterator[_Check]:
    """Read what the suite left in its folders, which are named server-SCENARIO-2026-01-31T10-20-30-456Z."""
    for file in sorted(results.glob("*/checks.json")):
        scenario = file.parent.name.removeprefix("server-")[: -len("-2026-01-31T10-20-30-456Z")]
        for each in json.loads(file.read_text()):
            yield _Check(scenario, f"{scenario}:{each['id']}", each["status"], each.get("errorMessage") or "")


def _not_scored(revision: str) -> frozenset[str]:
    """Scenarios that run and are reported, but cannot fail a run: extensions, and what the suite's authors hold."""
    required = yaml.safe_load((CONFORMANCE.parents[1] / f"requirements/{revision}.yaml").read_text())
    return frozenset(each["scenario"] for each in required["not_scored"])


def record(verdict: Verdict, file: Path) -> None:
    """Write what `verdict` left unmet as a list of expected failures."""
    lines = [f'  - "{name}"' for name in verdict.unmet]
    file.write_text("\n".join([f"# MCP {verdict.revision}, {len(lines)} checks", "server:", *lines]) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mcp.conformance", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--revision", choices=REVISIONS, action="append", help="both when not given")
    parser.add_argument("--expected-failures", type=Path)
    parser.add_argument("--scenario")
    parser.add_argument("--record", type=Path, metavar="FILE", help="with one --revision: write the list of failures")
    arguments = parser.parse_args()
    worst = 0
    for revision in arguments.revision or REVISIONS:
        verdict = check(
            arguments.url, revision, expected_failures=arguments.expected_failures, scenario=arguments.scenario
        )
        print(verdict)
        if arguments.record:
            record(verdict, arguments.record)
        worst = max(worst, verdict.exit_code)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
