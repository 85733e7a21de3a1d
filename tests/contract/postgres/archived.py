"""A server with an archive, for tests that go back to moments of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from ikoma.durable import write_file
from ikoma.model import AppName, Secret
from ikoma.moments import EntryTime, format_moment, parse_moment
from ikoma.ports.archive import RecoveryWindow
from ikoma.ports.databases import Credentials
from ikoma.postgres.archive.archive import Archive
from ikoma.postgres.archive.chain import BaseBackup, Chain
from ikoma.postgres.archive.point_in_time import PostgresPointInTime
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.server import PostgresServer
from tests.contract.conftest import remove, settings_of, state_folder

Do = Callable[[Coroutine[Any, Any, Any]], Any]
SECONDS = 120.0


@dataclass
class World:
    """A server with an archive; `rows` is the app's table at moments that were noted."""

    do: Do
    folder: Path
    server: PostgresServer
    archive: Archive
    databases: PostgresDatabases
    owned: Credentials = field(default_factory=lambda: Credentials("shop", "shop", Secret("x" * 20)))
    work: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def point_in_time(self) -> PostgresPointInTime:
        return PostgresPointInTime(self.server, self.archive, self.folder / "postgres")

    @property
    def chain(self) -> Chain:
        return self.archive.list_chains()[-1]

    def begin(self) -> None:
        async def begin() -> None:
            self.work = [asyncio.ensure_future(work()) for work in (self.archive.receive, self.archive.look_after)]

        self.do(begin())

    def end(self) -> None:
        async def end() -> None:
            for work in self.work:
                work.cancel()
            await asyncio.wait(self.work)

        self.do(end())

    def run(self, sql: str) -> None:
        self.do(self.databases.run_sql(self.owned, "test", sql, timeout=60))

    def note(self) -> EntryTime:
        """A moment after all that was done, and before what follows."""
        self.do(asyncio.sleep(0.01))
        moment = EntryTime.parse(datetime.now(UTC).isoformat())
        self.do(asyncio.sleep(0.01))
        return moment

    def go_back(self, time: str, owned: Credentials | None = None) -> dict[str, int | None]:
        async def count() -> dict[str, int | None]:
            async with self.point_in_time.recover(owned or self.owned, EntryTime.parse(time), lambda *_: None) as found:
                return dict(await found.count_rows(self.owned, timeout=60))

        return dict(self.do(count()))

    def age(self, base: BaseBackup) -> None:
        """Let a base backup be so old that the next one is due."""
        path = self.chain.bases / base.name / "base.json"
        before = format_moment(parse_moment(base.finished) - timedelta(hours=25), "microseconds")
        write_file(path, orjson.dumps(orjson.loads(path.read_bytes()) | {"finished": before}), mode=0o600)

    def wait_for(self, wanted: Callable[[RecoveryWindow], bool]) -> RecoveryWindow:
        async def wait() -> RecoveryWindow:
            async with asyncio.timeout(SECONDS):
                while True:
                    window = await self.archive.read_window()
                    if wanted(window):
                        return window
                    await asyncio.sleep(0.1)

        found: RecoveryWindow = self.do(wait())
        return found


@contextmanager
def archived(do: Do, make: Callable[[Path], PostgresServer] | None = None) -> Iterator[World]:
    """A server that is archived, with its first base backup; an embedded one, where no other is made."""
    folder = state_folder()
    server = EmbeddedPostgres(settings_of(folder)) if make is None else make(folder)
    do(server.start())
    made = World(do, folder, server, Archive(server, folder / "backups", 7), PostgresDatabases(server))
    do(made.databases.create(AppName("shop"), made.owned.password))
    made.begin()
    made.wait_for(lambda window: window.since is not None)
    do(asyncio.sleep(1.1))  # the window is told in whole seconds
    yield made
    made.end()
    do(made.databases.close())
    do(server.stop())
    remove(folder)
