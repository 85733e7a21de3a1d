"""Runs the protocol's conformance suite against a server, and counts what it found.

    python -m tests.mcp.conformance URL [--revision 2026-07-28] [--expected-failures FILE] [--scenario NAME]

The suite itself sends no key: for a server that wants one, see keyed.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mcp.node import CONFORMANCE, run_node

REVISIONS = ("2025-11-25", "2026-07-28")


@dataclass(frozen=True)
class Verdict:
    """What one run of the suite said. `exit_code` 0: every scored scenario passed, or failed as expected."""

    revision: str
    exit_code: int
    scenarios: int
    passed: int
    failed: int
    warned: int
    skipped: int
    problems: tuple[str, ...]
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
    counts = Counter(status for _, status, _ in checks)
    return Verdict(
        revision=revision,
        exit_code=ran.returncode,
        scenarios=len({scenario for scenario, _, _ in checks}),
        passed=counts["SUCCESS"],
        failed=counts["FAILURE"],
        warned=counts["WARNING"],
        skipped=counts["SKIPPED"],
        problems=tuple(f"  {status} {said}" for _, status, said in checks if status in ("FAILURE", "WARNING")),
        output=ran.stdout + ran.stderr,
    )


def _checks(results: Path) -> Iterator[tuple[str, str, str]]:
    """Scenario, status and text of each check. Folders are named server-SCENARIO-2026-01-31T10-20-30-456Z."""
    for file in sorted(results.glob("*/checks.json")):
        scenario = file.parent.name.removeprefix("server-")[: -len("-2026-01-31T10-20-30-456Z")]
        for each in json.loads(file.read_text()):
            yield scenario, each["status"], f"{scenario}:{each['id']} ({each['name']}) {each.get('errorMessage', '')}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mcp.conformance", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--revision", choices=REVISIONS, action="append", help="both when not given")
    parser.add_argument("--expected-failures", type=Path)
    parser.add_argument("--scenario")
    arguments = parser.parse_args()
    worst = 0
    for revision in arguments.revision or REVISIONS:
        verdict = check(
            arguments.url, revision, expected_failures=arguments.expected_failures, scenario=arguments.scenario
        )
        print(verdict)
        worst = max(worst, verdict.exit_code)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
