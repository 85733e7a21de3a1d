from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps import stopped_after_the_test
from tests.support import Server, stop_apps
from tests.support import server as started_server

__all__ = ["server", "stopped_after_the_test"]


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with started_server() as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def stopped_at_the_end(server: Server) -> Iterator[None]:
    """Apps that a file of tests has deployed stop with it: healthchecks that go on would cost all the others time."""
    yield
    stop_apps(server)
