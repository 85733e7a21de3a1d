"""Whether an app's own role can log in: asked often, so a session of the last seconds may answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import psycopg

from ikoma.errors import DatabasesUnavailable
from ikoma.ports import Credentials
from ikoma.postgres.connect import Connection, connect, unavailable
from ikoma.postgres.server import PostgresServer

_KEEP_SECONDS = 5.0


@dataclass(slots=True)
class _Session:
    connection: Connection
    credentials: Credentials
    ends: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Logins:
    """Sessions kept for at most five seconds after their login, one for each app that is looked at."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._sessions: dict[str, _Session] = {}

    async def check(self, credentials: Credentials, *, fresh: bool) -> None:
        """Run a statement as the app's role; DatabasesUnavailable where that can't be done.

        Args:
            fresh: make a new login, whatever session there is.
        """
        kept = self._sessions.get(credentials.database)
        if not fresh and kept is not None and kept.credentials == credentials and await self._alive(kept):
            return
        connection = await connect(self._server.as_app(credentials))
        try:
            await connection.execute("SELECT 1")
        except psycopg.Error as error:
            await connection.close()
            raise unavailable(error) from error
        if fresh:
            await connection.close()
        else:
            await self._keep(connection, credentials)

    async def forget(self, database: str) -> None:
        session = self._sessions.pop(database, None)
        if session is not None:
            await session.connection.close()

    async def close(self) -> None:
        for database in list(self._sessions):
            await self.forget(database)

    async def _alive(self, session: _Session) -> bool:
        if asyncio.get_running_loop().time() >= session.ends:
            return False
        async with session.lock:
            try:
                async with asyncio.timeout(3):
                    await session.connection.execute("SELECT 1")
            except (psycopg.Error, TimeoutError, DatabasesUnavailable):
                return False
        return True

    async def _keep(self, connection: Connection, credentials: Credentials) -> None:
        await self.forget(credentials.database)
        loop = asyncio.get_running_loop()
        session = _Session(connection, credentials, loop.time() + _KEEP_SECONDS)
        self._sessions[credentials.database] = session
        loop.call_later(_KEEP_SECONDS, self._expire, credentials.database, session)

    def _expire(self, database: str, session: _Session) -> None:
        if self._sessions.get(database) is session:
            del self._sessions[database]
            closing = asyncio.ensure_future(session.connection.close())
            closing.add_done_callback(lambda task: task.exception())
