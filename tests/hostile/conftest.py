"""The one real PostgreSQL of these tests, and two apps on it."""

from __future__ import annotations

from tests.contract.conftest import databases, do, make, server
from tests.contract.postgres.conftest import app, owned, postgres

__all__ = ["app", "databases", "do", "make", "owned", "postgres", "server"]
