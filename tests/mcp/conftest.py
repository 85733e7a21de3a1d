"""One server for the tests of the MCP door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import support
from tests.support import Server


@pytest.fixture(scope="module")
def house() -> Iterator[Server]:
    with support.server() as server:
        yield server
