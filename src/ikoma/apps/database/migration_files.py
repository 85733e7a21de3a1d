"""An app's migrations and seeds: the .sql files directly in migrations/ and seeds/, in order.

`NNN_name.down.sql` is the way back of `NNN_name.sql`: it is found by the name of its migration and is never taken for
one itself, whatever asks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ikoma.app_folder import App, list_folder
from ikoma.errors import FileMissing, IkomaError, Next, NotAFile, SqlFailed
from ikoma.kernel.registry import SQL_BODY_LIMIT
from ikoma.model import SqlFileName, make_printable, quote_name
from ikoma.ports.databases import LedgerEntry, Migration

_DOWN = ".down.sql"


def list_migrations(app: App) -> list[Migration]:
    """List all migrations in migrations/, in the order they apply. `NNN_name.down.sql` is not one of them."""
    return [_read(app, path) for path in _list_files(app.migrations) if not path.name.endswith(_DOWN)]


def read_migrations(app: App) -> tuple[list[Migration], list[tuple[str, IkomaError]]]:
    """Read all migrations that can be read, in order, and of each of the others its path and what is wrong with it."""
    found, wrong = [], []
    for path in _list_files(app.migrations):
        try:
            item = _read(app, path)
        except IkomaError as error:
            wrong.append((make_printable(str(path.relative_to(app.path))), error))
            continue
        if not path.name.endswith(_DOWN):
            found.append(item)
    return found, wrong


def find_migration(app: App, name: SqlFileName) -> Migration:
    if name.endswith(_DOWN):
        raise SqlFailed(
            f"{quote_name(name)} undoes a migration and is not one.",
            hint=f"Give {quote_name(name.removesuffix(_DOWN) + '.sql')}, or no file.",
        )
    return _read(app, app.migrations / name)


def list_down_migrations(app: App, folder: Path | None = None) -> dict[str, Migration]:
    """List the down-migrations there are, each by the name of the migration that it undoes.

    Args:
        folder: where to look, inside the app's folder; migrations/ when omitted.
    """
    known = _list_files(folder or app.migrations)
    return {f"{path.name.removesuffix(_DOWN)}.sql": _read(app, path) for path in known if path.name.endswith(_DOWN)}


def list_seeds(app: App) -> list[Migration]:
    """List all files in seeds/, in order."""
    return [_read(app, path) for path in _list_files(app.seeds)]


def find_seed(app: App, name: SqlFileName) -> Migration:
    return _read(app, app.seeds / name)


def make_migration(app: App, sql: str) -> Migration:
    """SQL text as a migration: under the name of the file that holds the same text, else under its checksum.

    So a file that was sent as text is not pending afterwards.
    """
    sent = Migration.of("", sql)
    for known in list_migrations(app):
        if known.checksum == sent.checksum:
            return known
    return Migration.of(f"sql-{sent.checksum[:12]}", sql)


def lead_to_file(error: IkomaError, folder: str, files: Collection[str]) -> None:
    """Let an error of the SQL of a file lead to that file first.

    Args:
        folder: where they are, in the app's folder.
        files: the names of those that there are; other SQL was given as text.
    """
    name = error.details.get("file")
    if isinstance(error, SqlFailed) and name in files:
        error.next = (Next("files.read", {"path": f"{folder}/{name}"}), *error.next)


def select_pending(known: Sequence[Migration], ledger: Sequence[LedgerEntry]) -> list[Migration]:
    """Select the migrations that have not been applied."""
    applied = {entry.name for entry in ledger}
    return [item for item in known if item.name not in applied]


def select_changed(known: Sequence[Migration], ledger: Sequence[LedgerEntry]) -> list[Migration]:
    """Select the migrations that were applied with another content."""
    applied = {entry.name: entry.checksum for entry in ledger}
    return [item for item in known if applied.get(item.name, item.checksum) != item.checksum]


def select_missing(known: Sequence[Migration], ledger: Sequence[LedgerEntry]) -> list[str]:
    """Select names of migrations that were applied as files and are files no more; sent text was never one."""
    files = {item.name for item in known}
    return [entry.name for entry in ledger if entry.name not in files and entry.name.endswith(".sql")]


def select_overtaken(known: Sequence[Migration], ledger: Sequence[LedgerEntry]) -> dict[str, str]:
    """Select migrations that are pending while a later one is applied: name → the last of the later ones."""
    applied = {entry.name for entry in ledger}
    last = max((place for place, item in enumerate(known) if item.name in applied), default=-1)
    return {item.name: known[last].name for item in known[: last + 1] if item.name not in applied}


def _list_files(folder: Path) -> list[Path]:
    found = (path for path in list_folder(folder) if path.name.endswith(".sql") and not path.name.startswith("."))
    return sorted(found, key=_sort_key)


def _sort_key(path: Path) -> tuple[int, str]:
    """Sort by the number a name begins with, then by name: 2_b.sql comes before 10_a.sql."""
    number = re.match(r"\d{1,18}", path.name)
    return (int(number[0]) if number else -1, path.name)


def _read(app: App, path: Path) -> Migration:
    named = str(path.relative_to(app.path))
    name = quote_name(named)
    if make_printable(named) != named:
        raise SqlFailed(f"The name of {name} is not UTF-8.", hint="Rename the file.")
    try:  # a container may write the folder, and swap a file for a link while we look
        content = app.read_inside(path, SQL_BODY_LIMIT + 1)
    except (FileMissing, NotAFile):
        raise FileMissing(f"{app.name} has no file {name}.") from None
    if len(content) > SQL_BODY_LIMIT:
        raise SqlFailed(f"{name} is larger than {SQL_BODY_LIMIT >> 20} MiB.", hint="Split the file.")
    try:
        return Migration.of(path.name, content.decode().replace("\r\n", "\n").replace("\r", "\n"))
    except UnicodeDecodeError as error:
        raise SqlFailed(
            f"{name} is not UTF-8: {error.reason} at byte {error.start}.", hint="Save it as UTF-8."
        ) from None
