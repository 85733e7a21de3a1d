"""The Protocol of a PostgreSQL server, embedded or external, for the rest of the package."""

from __future__ import annotations

from typing import Any, Protocol

from ikoma.ports.databases import Credentials, Endpoint

HOST_NAME = "ikoma-postgres"
"""Name that containers have for a PostgreSQL that runs on this machine."""

ADMIN_OPTIONS = "-c search_path=pg_catalog"
"""The admin enters apps' databases: no function or operator of an app may stand in for one of PostgreSQL's there."""

APP_OPTIONS = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=15min"
    " -c standard_conforming_strings=on -c default_transaction_read_only=off"
    " -c exit_on_error=off -c client_min_messages=error"
)
"""Options with which IKOMA's own sessions work as an app's role, whatever the app has set for the role.

Text is read there as it was read here before, nothing ends that IKOMA did not end, and no notice is sent that nobody
reads. What else an app has set (search_path, TimeZone) counts, as it does in the app's own sessions.
"""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class PostgresServer(Protocol):
    """A server and the admin's way into it."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def hand_over(self) -> None:
        """Leave what runs to the next process that starts on this state."""

    async def set_app_address(self, address: str | None) -> None:
        """Tell where containers reach this machine."""

    @property
    def endpoint(self) -> Endpoint: ...

    def make_admin_login(self, database: str | None = None) -> dict[str, Any]:
        """Connection parameters of the platform's own role."""

    def measure_free_space(self) -> int | None:
        """Bytes that are free where the databases are; None where that cannot be seen from here."""

    def make_app_login(self, credentials: Credentials) -> dict[str, Any]:
        """Connection parameters of an app's own role, from this process."""
