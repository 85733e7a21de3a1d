"""`Databases` on a PostgreSQL server: each method is a line into the module that knows how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ikoma.errors import DatabasesUnavailable, DiskFull
from ikoma.model import AppName, Secret
from ikoma.ports.databases import (
    Credentials,
    DatabaseState,
    Dump,
    Endpoint,
    LedgerEntry,
    Migration,
    MigrationRehearsal,
    QueryRows,
    RestoredTables,
    UndoCopy,
)
from ikoma.ports.progress import Progress
from ikoma.postgres import provision, swap
from ikoma.postgres.app_sessions import AppSessions
from ikoma.postgres.backup import archive, folder, foreign, proof, restore, tables
from ikoma.postgres.backup import dump as dumping
from ikoma.postgres.clients.query import Queries
from ikoma.postgres.connect import connected
from ikoma.postgres.logins import Logins
from ikoma.postgres.migrations import apply, ledger, rehearsal
from ikoma.postgres.server.server import PostgresServer

_SPARE = 256 << 20
"""Bytes that stay free beside a copy."""


class PostgresDatabases:
    """The apps' databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._logins = Logins(server)
        self._sessions = AppSessions(server)
        self._queries = Queries(server)

    async def read_version(self) -> str:
        async with connected(self._server.make_admin_login()) as connection:
            cursor = await connection.execute("SHOW server_version")
            row = await cursor.fetchone()
        assert row is not None
        return str(row[0])

    def find_endpoint(self) -> Endpoint:
        return self._server.endpoint

    async def create(self, app: AppName, password: Secret) -> None:
        await provision.create(self._server, app, password)

    async def drop(self, app: AppName) -> None:
        await self._forget(app.database)
        await provision.drop(self._server, app)

    async def owns(self, app: AppName) -> bool:
        return await provision.is_owned(self._server, app)

    async def read_state(self, app: AppName) -> DatabaseState:
        return await provision.read_state(self._server, app)

    async def count_rows(self, credentials: Credentials, *, timeout: float = 5) -> Mapping[str, int | None]:
        return await provision.count_rows(self._server, credentials, timeout=timeout)

    async def check_login(self, credentials: Credentials, *, fresh: bool = True) -> None:
        await self._logins.check(credentials, fresh=fresh)

    async def read_ledger(self, credentials: Credentials, *, fresh: bool = False) -> Sequence[LedgerEntry]:
        return await ledger.read_ledger(self._sessions, credentials, fresh=fresh)

    async def migrate(
        self, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
    ) -> bool:
        return await apply.migrate(self._server, credentials, migration, timeout=timeout, lock_timeout=lock_timeout)

    async def rehearse(self, place: Credentials, migration: Migration, *, timeout: float) -> MigrationRehearsal | None:
        return await rehearsal.rehearse(self._server, place, migration, timeout)

    async def revert(
        self, credentials: Credentials, name: str, down: Migration, *, timeout: float, lock_timeout: float
    ) -> None:
        await apply.revert(self._server, credentials, name, down, timeout=timeout, lock_timeout=lock_timeout)

    async def run_sql(self, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
        await apply.run_sql(self._server, credentials, name, sql, timeout=timeout)

    async def query(self, credentials: Credentials, sql: str, *, limit: int, timeout: float) -> QueryRows:
        return await self._queries.ask(credentials, sql, limit=limit, timeout=timeout)

    async def dump(
        self,
        app: AppName,
        target: Path,
        *,
        restore_as: AppName | None = None,
        terminate_blockers: bool = False,
        summed: bool = False,
        before: Callable[[Dump], Awaitable[None]] | None = None,
        progress: Progress,
    ) -> Dump:
        return await dumping.dump(
            self._server,
            app,
            target,
            progress,
            restore_as=restore_as,
            terminate_blockers=terminate_blockers,
            summed=summed,
            before=before,
        )

    async def dump_folder(self, app: AppName, target: Path, progress: Progress) -> Dump:
        return await folder.dump_folder(self._server, app, target, progress)

    async def restore(
        self,
        credentials: Credentials,
        path: Path,
        *,
        sha256: str | None = None,
        into: Credentials | None = None,
        progress: Progress,
    ) -> None:
        await restore.restore(self._server, credentials, path, progress, sha256=sha256, into=into)

    async def restore_archive(self, credentials: Credentials, path: Path) -> None:
        await archive.restore_archive(self._server, credentials, path)

    @asynccontextmanager
    async def make_stand_in(self, credentials: Credentials) -> AsyncIterator[Credentials]:
        app = AppName(credentials.database)
        await self._require_room(app)
        async with self._make_place(credentials, provision.name_stand_in(app)) as place:
            yield place

    @asynccontextmanager
    async def _make_place(self, owned: Credentials, name: str) -> AsyncIterator[Credentials]:
        """An empty database of that name that the role may enter, dropped after the block."""
        app = AppName(owned.role)
        await provision.make_place(self._server, app, name)
        try:
            yield replace(owned, database=name)
        finally:
            with suppress(DatabasesUnavailable):  # then it goes with the next one
                await asyncio.shield(provision.drop_place(self._server, app, name))

    @asynccontextmanager
    async def make_beside(self, credentials: Credentials, *, size: int = 0) -> AsyncIterator[Credentials]:
        app = AppName(credentials.database)
        await self._require_room(app, size)
        async with self._make_place(credentials, provision.name_beside(app)) as place:
            yield place

    async def swap_in(self, place: Credentials, note: UndoCopy) -> float:
        app = AppName(place.role)
        await self._forget(app.database)
        return await swap.swap_in(self._server, app, place.database, note)

    async def swap_back(self, app: AppName, note: UndoCopy) -> float:
        await self._forget(app.database)
        return await swap.swap_back(self._server, app, note)

    async def find_undo(self, app: AppName) -> UndoCopy | None:
        return await swap.find_undo(self._server, app)

    async def check_tables(self, credentials: Credentials, place: Credentials, names: Sequence[str]) -> None:
        await tables.check_tables(self._server, credentials.database, place.database, names)

    async def restore_tables(
        self,
        credentials: Credentials,
        place: Credentials,
        names: Sequence[str],
        *,
        kept: Mapping[str, str],
        keep: Callable[[int, bool], Awaitable[None]],
        lock_timeout: float,
    ) -> RestoredTables:
        return await tables.restore_tables(self._server, credentials, place, names, kept, keep, lock_timeout)

    async def read_outcome(self, transaction: int) -> str | None:
        return await tables.read_outcome(self._server, transaction)

    async def drop_expired_copies(self) -> Sequence[str]:
        return await swap.drop_expired(self._server)

    async def fill(
        self, credentials: Credentials, dump: Dump, *, of: AppName, work: Path, what: str, progress: Progress
    ) -> float:
        origin = Credentials(of.database, of.role, credentials.password)
        if of.role == credentials.role or dump.path.is_dir():
            return await proof.prove(self._server, origin, dump, credentials, what, progress)
        owner = AppName(credentials.role)
        async with self._make_place(origin, provision.name_foreign(owner)) as place:
            await proof.prove(self._server, origin, dump, place, what, progress)
            with _passing(work):
                copy = await dumping.dump(
                    self._server, of, work, progress, restore_as=owner, summed=True, place=place.database
                )
                own = Credentials(owner.database, owner.role, credentials.password)
                return await proof.prove(self._server, own, copy, credentials, what, progress)

    async def load_foreign(
        self, place: Credentials, path: Path, *, told: Dump | None, work: Path, what: str, progress: Progress
    ) -> None:
        await foreign.load(self._server, place, path, told=told, work=work, what=what, progress=progress)

    async def prove(
        self, credentials: Credentials, dump: Dump, place: Credentials, *, what: str, progress: Progress
    ) -> float:
        return await proof.prove(self._server, credentials, dump, place, what, progress)

    async def sweep(self) -> None:
        await provision.sweep(self._server)

    async def drop_stand_in(self, app: AppName) -> None:
        await provision.drop_place(self._server, app, provision.name_stand_in(app))

    async def _require_room(self, app: AppName, least: int = 0) -> None:
        """Refuse a copy that could fill the disk that every app's database is on.

        Args:
            least: bytes that it will have, where the app's database may have less now.
        """
        size, free = max((await provision.read_state(self._server, app)).size, least), self._server.measure_free_space()
        needed = 2 * size + _SPARE  # its tables, and the log of writing them
        if free is not None and free < needed:
            raise DiskFull(
                f"To try it on a copy of the database takes {needed >> 20} MiB, and {free >> 20} MiB are free.",
                hint="Make room on the disk of IKOMA_STATE, then try again. Nothing was changed.",
            )

    async def _forget(self, database: str) -> None:
        """End the sessions that are kept of a database."""
        await self._logins.forget(database)
        await self._sessions.forget(database)

    async def close(self) -> None:
        await self._queries.close()
        await self._logins.close()
        await self._sessions.close()


@contextmanager
def _passing(path: Path) -> Iterator[None]:
    """A path where a file may be made in the block, and none is before or after."""
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
