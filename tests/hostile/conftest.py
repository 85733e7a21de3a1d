"""A server that is attacked, and the one real PostgreSQL of these tests with two apps on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.conftest import databases, do, make, server
from tests.contract.postgres.conftest import app, owned, postgres
from tests.support import Server
from tests.support import server as started_server

__all__ = ["app", "databases", "do", "house", "make", "owned", "postgres", "server"]


@pytest.fixture(scope="package")
def house() -> Iterator[Server]:
    """A server that is attacked; nobody has to wait after wrong keys, so that each attack counts by itself."""
    with started_server(AUTH_MAX_FAILURES="1000000") as started:
        yield started
