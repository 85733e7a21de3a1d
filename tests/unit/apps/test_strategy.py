"""Which services have one container only."""

from __future__ import annotations

import pytest

from ikoma.apps.strategy import why_single

MODEL = {
    "services": {
        "web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}},
        "job": {},
        "tunnel": {},
        "inside": {"network_mode": "service:tunnel"},
    }
}


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("web", None),
        ("job", "it runs once for each release"),
        ("tunnel", "inside runs inside it"),
        ("inside", "it runs inside tunnel"),
    ],
)
def test_what_runs_once_or_shares_a_namespace_has_one_container(service: str, reason: str | None) -> None:
    assert why_single(MODEL, service) == reason
