"""The Protocol of PostgreSQL, and the plain data that passes through it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ikoma.model import AppName, Secret
from ikoma.ports.progress import Progress

_PACKED_BY = 8
"""So many times smaller than its text a packed dump is, about."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An app's access to its own database, from inside a container and from this process."""

    database: str
    role: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address at which replicas reach PostgreSQL."""

    host: str
    port: int
    on_this_machine: bool
    """True when `host` must be mapped to the address of this machine that the engine knows."""
    tls_port: int | None = None
    """The port for clients that insist on TLS, where that is another one."""
    certificate: str | None = None
    """Certificate to verify the server by, as PEM text; None where whoever runs it says so."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    exists: bool
    name: str
    size: int = 0
    tables: tuple[str, ...] = ()
    """Table names; with their schema in front when it is not public. IKOMA's ledger is not among them."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file that is applied once. `name` is what errors and the ledger call it."""

    name: str
    sql: str
    checksum: str

    @classmethod
    def of(cls, name: str, sql: str) -> Migration:
        """The checksum does not see line endings and trailing space: `$(cat FILE)` in a shell changes those."""
        text = sql.replace("\r\n", "\n").rstrip()
        return cls(name, sql, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class MigrationRehearsal:
    """The effects of a migration on a copy of the database."""

    name: str
    seconds: float
    locks: tuple[str, ...]
    """The strongest on each table that was there, such as "users: ACCESS EXCLUSIVE, rewritten"; the strongest first."""
    rows: Mapping[str, int]
    """Rows that it wrote, changed or deleted, by table."""
    rewritten: tuple[str, ...]
    """Tables whose rows were all written anew."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    name: str
    checksum: str
    applied_at: str


@dataclass(frozen=True, slots=True)
class QueryRows:
    """The rows of a query: values as JSON has them, and as text, as psql shows it, where JSON has nothing like it."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """As PostgreSQL calls them, such as "character varying(20)"."""
    rows: Sequence[Sequence[Any]]
    truncated: bool
    """True where there was more: rows beyond the limit, or beyond what one answer holds."""


@dataclass(frozen=True, slots=True)
class Dump:
    path: Path
    size: int
    sha256: str
    tables: Mapping[str, int] = field(default_factory=dict)
    """Rows of each table in the same snapshot as the dump."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """The checksum of each table, and of large objects, in that snapshot; without those that have none."""
    postgres: str = ""
    """The server's version that made the checksums, such as "18.6"."""
    seconds: float = 0.0
    """The seconds that writing it took, without the checksums."""
    is_kept: bool = False
    """Whether it has lain on a disk since: its SHA-256 is compared, in the very file that is restored."""

    @property
    def room(self) -> int:
        """Bytes of its text, about: what a database takes at least that it fills."""
        return measure_room(self.path, self.size)


def measure_room(path: Path, size: int) -> int:
    """Bytes of a dump's text, about, by its file, which may be packed."""
    return size * _PACKED_BY if path.suffix == ".zst" else size


@dataclass(frozen=True, slots=True)
class UndoCopy:
    """The database that an app had before its own was restored. Moments are RFC 3339 in UTC."""

    app: str
    backup: str
    """The backup that was restored; "" where a restore was undone."""
    replaced_at: str
    until: str
    """The time until which it is kept."""

    def __str__(self) -> str:
        return f"the copy of the database from before {self.occasion} at {self.replaced_at[:19]}Z"

    @property
    def occasion(self) -> str:
        """The act that replaced it."""
        return f"{self.backup} was restored" if self.backup else "a restore was undone"


@dataclass(frozen=True, slots=True)
class RestoredTables:
    """Tables that were put back: their rows, the seconds that writers of them waited, and which transaction did it."""

    rows: Mapping[str, int]
    waited: float
    transaction: int


class Databases(Protocol):
    """PostgreSQL. Raises DatabasesUnavailable within 5 s when it is away."""

    async def read_version(self) -> str: ...

    def find_endpoint(self) -> Endpoint: ...

    async def create(self, app: AppName, password: Secret) -> None:
        """Converge on: the app's database and its own login role with this password, isolated from all else."""

    async def drop(self, app: AppName) -> None:
        """Drop the app's database and role if IKOMA made them; sessions in it are ended."""

    async def owns(self, app: AppName) -> bool:
        """Whether there is a database that IKOMA made for this app."""

    async def read_state(self, app: AppName) -> DatabaseState: ...

    async def count_rows(self, credentials: Credentials, *, timeout: float = 5) -> Mapping[str, int | None]:
        """Rows of each of the app's tables now; None for a table that could not be counted within the time."""

    async def check_login(self, credentials: Credentials, *, fresh: bool = True) -> None:
        """Log in as the app's own role and run one statement; raises where that fails."""

    async def read_ledger(self, credentials: Credentials, *, fresh: bool = False) -> Sequence[LedgerEntry]:
        """The migrations that were applied, in order; `fresh` makes a new login for it, which proves one."""

    async def migrate(
        self, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
    ) -> bool:
        """Apply one migration with its ledger entry in one transaction; False when it was applied before.

        One that is marked runs statement by statement instead, and anew after what has ended it (SqlStopped). A lock is
        waited for `lock_timeout` seconds, four times; others go first in between.
        """

    async def rehearse(self, place: Credentials, migration: Migration, *, timeout: float) -> MigrationRehearsal | None:
        """Apply one migration to a database that stands in, and tell its effects; None when it was applied before."""

    async def revert(
        self, credentials: Credentials, name: str, down: Migration, *, timeout: float, lock_timeout: float
    ) -> None:
        """Undo the migration of this name by `down`, in one transaction that also removes its ledger entry.

        One that is marked runs statement by statement, as in `migrate`.

        Raises CannotRevert where it is not the newest entry: several go newest first.
        """

    async def run_sql(self, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
        """Run a seed file in one transaction as the app's role."""

    async def query(self, credentials: Credentials, sql: str, *, limit: int, timeout: float) -> QueryRows:
        """Run one reading statement as the app's role, in a transaction that cannot write and is rolled back.

        Raises NotAQuery, QueryFailed, QueryTimeout, QueryTooLarge.
        """

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
        """Write plain SQL that psql restores over the existing database, whole or not at all.

        Args:
            restore_as: the app over whose database it is to be restored, where that is not this one's.
            terminate_blockers: end sessions of the app that keep a table locked, rather than raise AppBusy.
            summed: read every table once more, for its checksum.
            before: is given the dump before it is at `target`, under a path that holds meanwhile.
        """

    async def dump_folder(self, app: AppName, target: Path, progress: Progress) -> Dump:
        """Write PostgreSQL's directory format by several workers, with checksums; a failure may leave a part of it.

        `prove` and `fill` take it, and restore it by several workers as the app's own role. A database that this cannot
        do is BackupUnproven then: `dump` has no such limit.
        """

    async def restore(
        self,
        credentials: Credentials,
        path: Path,
        *,
        sha256: str | None = None,
        into: Credentials | None = None,
        progress: Progress,
    ) -> None:
        """Make the app's database equal to a backup of it, with the app's own rights; a failure changes nothing.

        Args:
            sha256: of what was written once; None where the file is of this call itself.
            into: the database that is made equal, where that is one that stands in.

        Raises BackupMissing, BackupForeign, BackupDamaged (checked first), RestoreFailed, DatabaseMissing.
        """

    async def restore_archive(self, credentials: Credentials, path: Path) -> None:
        """Restore an archive of another server's pg_dump (custom format) into the app's empty database, as its role.

        Raises DatabaseNotMoved where a statement fails; the database is empty then.
        """

    async def fill(
        self, credentials: Credentials, dump: Dump, *, of: AppName, work: Path, what: str, progress: Progress
    ) -> float:
        """Fill the app's database, or one that stands in for it, with a dump of this app's or of another's; seconds.

        Args:
            of: the app whose database was dumped. All in it becomes the role's that these credentials name.
            work: a path for a copy on the way, where that is another; nothing is left there.
            what: how the sentence begins that says why it fails.

        Raises what `restore` raises, and BackupUnproven where a table has other rows then.
        """

    async def load_foreign(
        self, place: Credentials, path: Path, *, told: Dump | None, work: Path, what: str, progress: Progress
    ) -> None:
        """Load a dump that this server did not make into an empty database, as its role, whole or not at all.

        Nothing in it can reach a network, a program or a file of this machine.

        Args:
            told: what another server's manifest says of it, which is compared.
            work: a path for a copy on the way; nothing is left there.
            what: how the sentence begins that says why it fails.

        Raises SandboxMissing, BackupMissing, BackupForeign, BackupDamaged, BackupUnproven.
        """

    def make_beside(self, credentials: Credentials, *, size: int = 0) -> AbstractAsyncContextManager[Credentials]:
        """An empty database for the block that `swap_in` lets take the place of the app's. It is dropped otherwise.

        Args:
            size: bytes of what it is to be filled with.

        Raises DiskFull where it could fill the disk.
        """

    async def swap_in(self, place: Credentials, note: UndoCopy) -> float:
        """Let a database that was made beside take the place of the app's, which stays as the undo copy.

        For how many seconds the app waited. The role, its password and its rights stay. All or nothing.

        Raises AppBusy, DatabaseMissing.
        """

    async def swap_back(self, app: AppName, note: UndoCopy) -> float:
        """Let the undo copy be the app's database again, and what was that be the copy; for how many seconds it waited.

        Raises UndoMissing, AppBusy.
        """

    async def find_undo(self, app: AppName) -> UndoCopy | None: ...

    async def check_tables(self, credentials: Credentials, place: Credentials, names: Sequence[str]) -> None:
        """See that tables of these names are in the app's database and in the one beside, and alike.

        Raises TableMissing, TablesDiffer.
        """

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
        """Let some tables of the app's database equal those of a database beside, in one transaction as its role.

        Args:
            kept: the checksums of the tables in a backup that was made a moment ago.
            keep: called once, when nobody can write to the tables and nothing is changed yet, with the transaction's
                number, and whether they hold other rows than that backup: then it keeps them once more.
            lock_timeout: seconds for which it waits for those who write, four times.

        Raises TableMissing, TablesDiffer, TablesUnmatched, RestoreFailed, AppBusy; nothing was changed then.
        """

    async def read_outcome(self, transaction: int) -> str | None:
        """Whether a transaction was "committed" or "aborted"; None where nobody knows any more."""

    async def drop_expired_copies(self) -> Sequence[str]:
        """Drop undo copies that were kept long enough; names of their apps."""

    def make_stand_in(self, credentials: Credentials) -> AbstractAsyncContextManager[Credentials]:
        """An empty database for the block, where a backup and a migration of the app can be tried. It is dropped then.

        Only the app's role enters it, and from this machine alone. Raises DiskFull where a copy of the app's database
        could fill the disk.
        """

    async def prove(
        self, credentials: Credentials, dump: Dump, place: Credentials, *, what: str, progress: Progress
    ) -> float:
        """Restore a dump into a database that stands in, and compare it there; how many seconds the restore took.

        Args:
            what: how the sentence begins that says why it fails.

        Raises BackupUnproven where it fails, or a table is not whole.
        """

    async def sweep(self) -> None:
        """Drop databases that stood in for calls that were killed."""

    async def drop_stand_in(self, app: AppName) -> None:
        """Drop what a kill has left of one."""

    async def close(self) -> None: ...
