"""One server for the fault tests that can share one; most of them kill it and start it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.server_observations import SEED, half_written
from tests.support import Server
from tests.support import server as started_server


def pytest_report_header() -> str:
    return f"faults: FAULTS_SEED={SEED} brings the same moments back"


@pytest.fixture(scope="package")
def shared() -> Iterator[Server]:
    with started_server() as started:
        yield started


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A running server that leaves nothing half-written behind, whatever was done to it."""
    if shared.process is None:
        shared.start()
    yield shared
    assert half_written(shared) == []
