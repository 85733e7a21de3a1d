"""Sessions of apps' own roles that answer more than one question: a login costs more than all that is asked after it.

A session is kept for a second after its login and then closed, so an answer tells of a login that was accepted within
that second; what is asked on it is asked now. One is lent to one caller at a time, and who finds none free logs in. It
is kept again only where its caller left it in no transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from ikoma.errors import DatabasesUnavailable
from ikoma.ports.databases import Credentials
from ikoma.postgres.connect import Connection, connect, describe_unavailable, is_lost
from ikoma.postgres.server.server import PostgresServer

T = TypeVar("T")

_KEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Session:
    connection: Connection
    ends: float


class AppSessions:
    """The sessions that are free now: one at most for each role and password."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: dict[Credentials, _Session] = {}
        self._forgotten = 0

    async def ask(
        self, credentials: Credentials, question: Callable[[Connection], Awaitable[T]], *, fresh: bool = False
    ) -> T:
        """Ask on a session of the last second, else on a new one; DatabasesUnavailable where there is none to be had.

        Args:
            question: only reads; it is asked once more where a session of before turns out to have ended.
            fresh: make a new login, whatever session there is.
        """
        session = None if fresh else self._free.pop(credentials, None)
        if session is not None:
            with suppress(DatabasesUnavailable):
                return await self._ask_on(session, credentials, question)
        ends = asyncio.get_running_loop().time() + _KEEP_SECONDS
        return await self._ask_on(_Session(await self._log_in(credentials), ends), credentials, question)

    async def forget(self, database: str) -> None:
        """Close what is free of a database that is about to go or to be replaced; what is lent does not come back."""
        self._forgotten += 1
        for known in [known for known in self._free if known.database == database]:
            await self._free.pop(known).connection.close()

    async def close(self) -> None:
        for known in list(self._free):
            await self.forget(known.database)

    async def _log_in(self, credentials: Credentials) -> Connection:
        connection = await connect(self._server.make_app_login(credentials))
        connection.prepare_threshold = None  # what is prepared would answer of a table as it was
        return connection

    async def _ask_on(
        self, session: _Session, credentials: Credentials, question: Callable[[Connection], Awaitable[T]]
    ) -> T:
        forgotten = self._forgotten
        try:
            answer = await question(session.connection)
        except BaseException as error:
            has_ended = isinstance(error, psycopg.Error) and is_lost(error, session.connection)
            await session.connection.close()
            if has_ended:
                raise describe_unavailable(error) from error
            raise
        await self._keep(credentials, session, forgotten)
        return answer

    async def _keep(self, credentials: Credentials, session: _Session, forgotten: int) -> None:
        loop = asyncio.get_running_loop()
        is_idle = session.connection.info.transaction_status is TransactionStatus.IDLE
        if not is_idle or forgotten != self._forgotten or credentials in self._free or loop.time() >= session.ends:
            await session.connection.close()
            return
        self._free[credentials] = session
        loop.call_at(session.ends, self._expire, credentials, session)

    def _expire(self, credentials: Credentials, session: _Session) -> None:
        if self._free.get(credentials) is session:
            closing = asyncio.ensure_future(self._free.pop(credentials).connection.close())
            closing.add_done_callback(lambda task: task.exception())
