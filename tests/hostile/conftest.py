from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Server
from tests.support import server as started_server


@pytest.fixture(scope="package")
def house() -> Iterator[Server]:
    """A server that is attacked; nobody has to wait after wrong keys, so that each attack counts by itself."""
    with started_server(AUTH_MAX_FAILURES="1000000") as started:
        yield started
