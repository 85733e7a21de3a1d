"""state.db: the SQLite file of the control plane's own records, shared by every process of it.

One connection of a process reads and writes it. Its tables are made and changed by the numbered migrations of
migrations.py, each whole or not at all, whichever process comes first. A change waits for other processes that
write; the event loop of a server goes on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from ikoma.errors import DiskFull, StartRefused
from ikoma.kernel.state.migrations import MIGRATIONS
from ikoma.kernel.state.waiting import PATIENCE, runs_loop, wait_for, wait_in_turn

T = TypeVar("T")

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNWRITABLE = _BUSY | {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
}


class Store:
    """The records in one SQLite file.

    Args:
        database: the file; made when absent, and migrated where an earlier version wrote it.

    Raises:
        StartRefused: a newer version wrote it.
    """

    def __init__(self, database: Path) -> None:
        self.folder = database.parent
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._wait(PATIENCE)
        try:
            self.execute("PRAGMA journal_mode = WAL")
            self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> int:
        """The number of the last migration that was made."""
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    @property
    def changes_elsewhere(self) -> int:
        """A number that is another one after any other connection has changed the file."""
        return int(self.execute("PRAGMA data_version").fetchone()[0])

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement; one that writes belongs in a transaction. DiskFull where the file cannot be written."""
        try:
            return self._connection.execute(sql, values)
        except sqlite3.OperationalError:
            with _report_failures():
                raise

    async def change(self, work: Callable[[], T], *, durable: bool = True) -> T:
        """Do work that writes, all of it or nothing, once no other process writes.

        Args:
            durable: whether it is on the disk afterwards; else a power cut may take its last moments.
        """
        if not await wait_in_turn(partial(self._begin, durable)):
            raise _report_locked()
        return self._finish(work, durable)

    def change_now(self, work: Callable[[], object], *, durable: bool = True) -> bool:
        """Do work that writes, unless another process does at this moment; whether it was done."""
        if not self._begin(durable):
            return False
        self._finish(work, durable)
        return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing of it; a block inside another is a part of it.

        Waits for another process, except where an event loop would stand still: there, `change` does.
        """
        if self._connection.in_transaction:
            yield
            return
        if not wait_for(partial(self._begin, durable=True), seconds=0 if runs_loop() else None):
            raise _report_locked()
        with self._end_block():
            yield

    def close(self) -> None:
        self._connection.close()

    def _begin(self, durable: bool) -> bool:
        """Begin a transaction that writes, unless another process does at this moment."""
        if not durable:
            self.execute("PRAGMA synchronous = NORMAL")
        self._wait(0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            self.execute("PRAGMA synchronous = FULL")
            if _read_code(error) in _BUSY:
                return False
            with _report_failures():
                raise
        finally:
            self._wait(PATIENCE)
        return True

    def _finish(self, work: Callable[[], T], durable: bool) -> T:
        try:
            with self._end_block():
                return work()
        finally:
            if not durable:
                self.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _end_block(self) -> Iterator[None]:
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise

    def _wait(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def _migrate(self) -> None:
        newest = max(MIGRATIONS)
        if self.version > newest:
            raise StartRefused(
                f"state.db was written by a newer version of IKOMA: it is at migration {self.version}, and this "
                f"version knows {newest}.",
                hint="Start that version or a later one, or put back the state.db of before the upgrade.",
            )
        for number, migrate in sorted(MIGRATIONS.items()):
            if self.version < number:
                with self.transaction():
                    if self.version < number:  # else another process was quicker
                        migrate(self._connection)
                        self.execute(f"PRAGMA user_version = {number}")


@dataclass(frozen=True, slots=True)
class Codec:
    """Writes a field in a column, and reads it from there; NULL stays None."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


JSON = Codec(lambda value: orjson.dumps(value, default=str).decode(), orjson.loads)
NAMES = Codec(lambda value: orjson.dumps(list(value)).decode(), lambda text: tuple(orjson.loads(text)))
FLAG = Codec(int, bool)


class StoreTable(Generic[T]):
    """The rows of a table, each as a dataclass whose fields are columns.

    Args:
        row: the dataclass.
        codecs: of fields that SQLite has no type for, by name.
    """

    def __init__(self, store: Store, name: str, row: type[T], codecs: Mapping[str, Codec] | None = None) -> None:
        self._store = store
        self._name = name
        self._row = row
        self._fields = [item.name for item in fields(row)]  # type: ignore[arg-type]
        self._codecs = [(codecs or {}).get(name) for name in self._fields]

    def select(self, where: str = "TRUE", values: Sequence[Any] = ()) -> list[T]:
        """The rows for which a condition holds; an ORDER BY may follow it."""
        return list(self.iterate(where, values))

    def iterate(self, where: str = "TRUE", values: Sequence[Any] = ()) -> Iterator[T]:
        """Like `select`, one after another."""
        sql = f"SELECT {', '.join(self._fields)} FROM {self._name} WHERE {where}"  # noqa: S608 - our own text
        for row in self._store.execute(sql, values):
            read = zip(row, self._codecs, strict=True)
            yield self._row(*(codec.read(item) if codec and item is not None else item for item, codec in read))

    def insert(self, item: T, **more: Any) -> int:
        """Write a row; its number.

        Args:
            more: columns that the dataclass does not have.
        """
        given = [getattr(item, name) for name in self._fields]
        pairs = zip(given, self._codecs, strict=True)
        values = [codec.write(value) if codec and value is not None else value for value, codec in pairs]
        columns, marks = ", ".join([*self._fields, *more]), ", ".join("?" * (len(values) + len(more)))
        sql = f"INSERT INTO {self._name} ({columns}) VALUES ({marks})"  # noqa: S608 - our own text
        return self._store.execute(sql, [*values, *more.values()]).lastrowid or 0


def _report_locked() -> DiskFull:
    return DiskFull("state.db cannot be written (database is locked).")


def _read_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say more of the same


@contextmanager
def _report_failures() -> Iterator[None]:
    """Raise DiskFull for a file that cannot be written."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _read_code(error) not in _UNWRITABLE:
            raise
        raise DiskFull(f"state.db cannot be written ({error}).") from error
