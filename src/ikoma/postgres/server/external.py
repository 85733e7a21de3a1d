"""A PostgreSQL that someone else runs: POSTGRES_HOST and its siblings say where."""

from __future__ import annotations

from typing import Any

from ikoma.errors import InvalidSetting
from ikoma.ports.databases import Credentials, Endpoint
from ikoma.postgres.server.server import ADMIN_OPTIONS, APP_OPTIONS, HOST_NAME, LOOPBACK
from ikoma.settings import Settings


class ExternalPostgres:
    """Neither started nor stopped here."""

    def __init__(self, settings: Settings) -> None:
        if settings.postgres_password is None:
            raise InvalidSetting("POSTGRES_PASSWORD must be set where POSTGRES_HOST is.")
        self._settings = settings
        self._host = settings.postgres_host or "127.0.0.1"
        self._port = settings.postgres_port or 5432
        self._password = settings.postgres_password

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    def hand_over(self) -> None:
        return None

    async def set_app_address(self, address: str | None) -> None:
        return None

    @property
    def endpoint(self) -> Endpoint:
        local = self._host in LOOPBACK
        return Endpoint(HOST_NAME if local else self._host, self._port, on_this_machine=local)

    def make_admin_login(self, database: str | None = None) -> dict[str, Any]:
        return {
            "host": self._host,
            "port": self._port,
            "user": self._settings.postgres_user,
            "password": self._password.reveal(),
            "dbname": database or self._settings.postgres_db,
            "options": ADMIN_OPTIONS,
        }

    def measure_free_space(self) -> int | None:
        return None

    def make_app_login(self, credentials: Credentials) -> dict[str, Any]:
        return {
            "host": self._host,
            "port": self._port,
            "user": credentials.role,
            "password": credentials.password.reveal(),
            "dbname": credentials.database,
            "options": APP_OPTIONS,
        }
