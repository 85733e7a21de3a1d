"""One server for each file of tests; most of them deploy under load, so that they must not share its apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps import stopped_after_the_test
from tests.support import Server
from tests.support import server as started_server

__all__ = ["server", "stopped_after_the_test"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started_server() as started:
        yield started
