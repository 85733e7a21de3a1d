from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Server
from tests.support import server as started_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with started_server() as started:
        yield started
