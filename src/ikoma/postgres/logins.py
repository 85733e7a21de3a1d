"""Whether an app's own role can log in: asked often, so a session of the last seconds may answer.

Those who ask at once share one login, so that checks never use up the sessions that the role may have. A session is
closed only while nobody waits for it: the event loop still watches its socket then, and libuv ends the whole process
where a watched descriptor is closed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import psycopg

from ikoma.kernel.coalesce import Coalesced
from ikoma.ports.databases import Credentials
from ikoma.postgres.connect import Connection, ask, connect, describe_unavailable
from ikoma.postgres.server.server import PostgresServer

_KEEP_SECONDS = 5.0
_ANSWER_SECONDS = 1.0


@dataclass(slots=True)
class _KeptSession:
    connection: Connection
    ends: float
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)


class Logins:
    """The checks of each app's role, and the session that each may keep for a while."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._checks: dict[Credentials, _Checks] = {}

    async def check(self, credentials: Credentials, *, fresh: bool) -> None:
        """Run a statement as the app's role; DatabasesUnavailable where that can't be done.

        Args:
            fresh: make a new login, whatever session there is.
        """
        checks = self._checks.get(credentials)
        if checks is None:
            # With another password than before: the session of the former one must not answer any more.
            await self.forget(credentials.database)
            checks = self._checks.setdefault(credentials, _Checks(self._server, credentials))
        await (checks.fresh if fresh else checks.quick).get()

    async def forget(self, database: str) -> None:
        for known in [known for known in self._checks if known.database == database]:
            await self._checks.pop(known).close()

    async def close(self) -> None:
        for known in list(self._checks):
            await self.forget(known.database)


class _Checks:
    """The checks of one role with one password."""

    def __init__(self, server: PostgresServer, credentials: Credentials) -> None:
        self._server = server
        self._credentials = credentials
        self._session: _KeptSession | None = None
        self._closed = False
        self.fresh = Coalesced(self._log_in_once)
        self.quick = Coalesced(self._ask)

    async def close(self) -> None:
        self._closed = True
        await self._drop(self._session)

    async def _log_in_once(self) -> None:
        await (await self._log_in()).close()

    async def _ask(self) -> None:
        """Ask the session that is kept, else a new one."""
        session = self._session
        if session is not None and await self._is_alive(session):
            return
        await self._drop(session)
        loop = asyncio.get_running_loop()
        session = _KeptSession(await self._log_in(), loop.time() + _KEEP_SECONDS)
        self._session = session
        if self._closed:
            await self._drop(session)
            return
        loop.call_later(_KEEP_SECONDS, self._expire, session)

    async def _log_in(self) -> Connection:
        connection = await connect(self._server.make_app_login(self._credentials))
        try:
            await ask(connection, _ANSWER_SECONDS)
        except psycopg.Error as error:
            await connection.close()
            raise describe_unavailable(error) from error
        return connection

    async def _is_alive(self, session: _KeptSession) -> bool:
        if asyncio.get_running_loop().time() >= session.ends:
            return False
        try:
            async with session.in_use:
                await ask(session.connection, _ANSWER_SECONDS)
        except psycopg.Error:
            return False
        return True

    async def _drop(self, session: _KeptSession | None) -> None:
        if session is not None:
            if self._session is session:
                self._session = None
            async with session.in_use:
                await session.connection.close()

    def _expire(self, session: _KeptSession) -> None:
        closing = asyncio.ensure_future(self._drop(session))
        closing.add_done_callback(lambda task: task.exception())
