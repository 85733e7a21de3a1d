"""What the rest of the package needs to know of a PostgreSQL server, embedded or external."""

from __future__ import annotations

from typing import Any, Protocol

from ikoma.ports import Credentials, Endpoint

HOST_NAME = "ikoma-postgres"
"""What containers call a PostgreSQL that runs on this machine."""

ADMIN_OPTIONS = "-c search_path=pg_catalog"
"""The admin enters apps' databases: no function or operator of an app may stand in for one of PostgreSQL's there."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class PostgresServer(Protocol):
    """A server and the admin's way into it."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def set_gateway(self, address: str | None) -> None:
        """Tell where containers reach this machine."""

    def endpoint(self) -> Endpoint: ...

    def admin(self, database: str | None = None) -> dict[str, Any]:
        """Connection parameters of the platform's own role."""

    def as_app(self, credentials: Credentials) -> dict[str, Any]:
        """Connection parameters of an app's own role, from this process."""
