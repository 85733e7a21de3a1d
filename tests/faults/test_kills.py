"""A few kills of the trial that `make faults` carries on with: nothing is lost, nothing half is listed or left over."""

from __future__ import annotations

import pytest

from tests.faults.kills.trial import run
from tests.faults.server_observations import SEED

FEW = (
    ("backup", "tool"),
    ("restore", "server"),
    ("swap", "server"),
    ("whole backup", "postgres"),
    ("upload", "sender"),
    ("undo", "server"),
)


@pytest.mark.timeout(900)
def test_what_is_killed_at_a_random_moment_loses_no_row_and_leaves_nothing_half() -> None:
    counts = run(FEW, SEED)
    assert counts["rows acknowledged, none lost"] > 0
    assert counts["backups loaded by psql, equal"] >= 2
