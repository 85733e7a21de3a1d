"""The way of an app's database back from what a newer release made of it to what an older one knew.

Nothing here touches a database: ledgers, files and backups in, one honest sentence out. Down-migrations come first,
because they keep the rows that were written since; a backup loses those, and says so. Where neither leads back, the
reason is said, and never guessed away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ikoma.ports.databases import LedgerEntry, Migration


class RollbackMethod(Enum):
    NOTHING = "nothing"
    """The database is as the older release knew it."""
    DOWN = "down-migrations"
    RESTORE = "restore"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """A backup of the app's database that is whole. `made_at` is RFC 3339 in UTC, as in manifests and ledgers."""

    name: str
    made_at: str
    migrations: Mapping[str, str] | None = None
    """Names and checksums of what was applied when it was made; None where nobody wrote that down."""


@dataclass(frozen=True, slots=True)
class DatabaseRollbackPlan:
    """A way back for the database, and its cost."""

    method: RollbackMethod
    sentence: str
    """The sentence that a person reads before it is done."""
    undo: tuple[str, ...] = ()
    """Names of the migrations to undo, in this order, for DOWN."""
    backup: str | None = None
    """The backup's name, for RESTORE."""
    made_at: str | None = None
    """The time when the backup was made, for RESTORE. Rows written since are lost."""

    def __str__(self) -> str:
        return self.sentence


STAYS = DatabaseRollbackPlan(RollbackMethod.NOTHING, "The database stays as it is.")
"""The plan where nobody asked for more."""


def plan_rollback(
    older: Sequence[LedgerEntry],
    newer: Sequence[LedgerEntry],
    *,
    files: Sequence[Migration],
    downs: Collection[str],
    backups: Sequence[KnownBackup],
) -> DatabaseRollbackPlan:
    """Choose the way back from `newer` to `older`.

    Args:
        older: the ledger as the older release left it, in the order of application.
        newer: the ledger as it is now.
        files: the migrations as they are on the disk, to tell whether a down-migration still is for what was applied.
        downs: names of the migrations that have a down-migration.
        backups: what there is to restore. Of one that does not say which migrations it holds, its time tells, unless
            one of them was undone meanwhile: compare the ledger after such a restore.
    """
    if _is_same(older, newer):
        return DatabaseRollbackPlan(
            RollbackMethod.NOTHING, "There is nothing to do: the database is as that release knew it."
        )
    obstacle = _find_obstacle(older, newer, {file.name: file.checksum for file in files}, downs)
    if obstacle is None:
        return _plan_down_migrations(newer[len(older) :])
    backup = _find_backup(older, newer, backups)
    if backup is None:
        return DatabaseRollbackPlan(
            RollbackMethod.CANNOT, f"The database cannot go back: {obstacle}, and no backup holds it as it was then."
        )
    return DatabaseRollbackPlan(
        RollbackMethod.RESTORE,
        f"The backup {backup.name} of {backup.made_at} is restored, because {obstacle}:"
        " what was written since is lost.",
        backup=backup.name,
        made_at=backup.made_at,
    )


def _is_same(older: Sequence[LedgerEntry], newer: Sequence[LedgerEntry]) -> bool:
    return _map_checksums(older) == _map_checksums(newer)


def _map_checksums(entries: Sequence[LedgerEntry]) -> dict[str, str]:
    return {entry.name: entry.checksum for entry in entries}


def _plan_down_migrations(since: Sequence[LedgerEntry]) -> DatabaseRollbackPlan:
    names = tuple(entry.name for entry in reversed(since))
    return DatabaseRollbackPlan(
        RollbackMethod.DOWN,
        f"Undone by {'its down-migration' if len(names) == 1 else 'their down-migrations'}: {', then '.join(names)}."
        " Rows written since stay, but for what is dropped on the way.",
        undo=names,
    )


def _find_obstacle(
    older: Sequence[LedgerEntry], newer: Sequence[LedgerEntry], files: Mapping[str, str], downs: Collection[str]
) -> str | None:
    """Find why down-migrations do not lead from one to the other; None where they do."""
    now = _map_checksums(newer)
    if gone := [entry.name for entry in older if entry.name not in now]:
        return f"{_join_names(gone)} {_choose_was(gone)} applied then, and {_is(gone)} not now"
    if other := [entry.name for entry in older if now[entry.name] != entry.checksum]:
        return f"{_join_names(other)} {_choose_was(other)} applied again with another content since"
    if [entry.name for entry in newer[: len(older)]] != [entry.name for entry in older]:
        return "the migrations since are not the newest of the ledger, and only those can be undone"
    since = newer[len(older) :]
    if lacking := [entry.name for entry in since if entry.name not in downs]:
        return f"{_join_names(lacking)} {_has(lacking)} no down-migration"
    if changed := [entry.name for entry in since if files.get(entry.name, entry.checksum) != entry.checksum]:
        return f"{_join_names(changed)} {_choose_was(changed)} changed on the disk since it was applied"
    return None


def _find_backup(
    older: Sequence[LedgerEntry], newer: Sequence[LedgerEntry], backups: Sequence[KnownBackup]
) -> KnownBackup | None:
    """Find the newest backup that was made while the database was as the older release knew it."""
    fitting = [kept for kept in backups if _fits(kept, older, newer)]
    return max(fitting, key=lambda kept: kept.made_at, default=None)


def _fits(kept: KnownBackup, older: Sequence[LedgerEntry], newer: Sequence[LedgerEntry]) -> bool:
    if kept.migrations is not None:
        return dict(kept.migrations) == _map_checksums(older)
    if any(entry not in newer for entry in older):
        return False  # something was undone, and the ledger does not say when
    begins = max((entry.applied_at for entry in older), default="")
    ends = min(entry.applied_at for entry in newer if entry not in older)
    return begins <= kept.made_at < ends


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _choose_was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
