"""One server for each file of tests; most of them deploy under load, so that they must not share its apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Server
from tests.support import server as started_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started_server() as started:
        yield started
