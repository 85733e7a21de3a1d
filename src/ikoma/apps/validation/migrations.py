"""Findings of migrations: what their text, and the ledger of what was applied, show to be impossible.

They are errors, and nothing is stopped for a deploy that has one. An app without a database of IKOMA's has none: its
migrations/ may hold SQL of another kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ikoma.app_folder import App
from ikoma.apps.database import credentials, migration_files
from ikoma.apps.validation.finding import Finding
from ikoma.errors import DatabasesUnavailable, IkomaError
from ikoma.ports.databases import Databases, LedgerEntry, Migration
from ikoma.postgres.migrations.refusals import find_refusals
from ikoma.postgres.sql.parser import read


async def find_migrations(databases: Databases, app: App) -> tuple[Sequence[Migration] | None, list[Finding]]:
    """Read the app's migrations, and find what would make those of a deploy fail, as far as it is known before.

    They are None where the app has no database.
    """
    if (owned := credentials.find(app)) is None:
        return None, []
    known, wrong = await asyncio.to_thread(migration_files.read_migrations, app)
    found = [Finding(path, None, error.message, error.hint) for path, error in wrong]
    try:
        ledger = await databases.read_ledger(owned)
    except DatabasesUnavailable:
        return known, found  # that is said by itself
    except IkomaError as error:
        return known, [*found, Finding("migrations", None, error.message, error.hint)]
    lost = {path.rpartition("/")[2] for path, _ in wrong}
    found += [item for item in _find_differences(known, ledger) if item.file.rpartition("/")[2] not in lost]
    for item in migration_files.select_pending(known, ledger):
        found += [_make_finding(item.name, *refused) for refused in await read(_list_refused, item, owned.role)]
    return known, found


def _list_refused(migration: Migration, role: str) -> list[tuple[str, str, int | None]]:
    return [(item.problem, item.fix, item.line) for item in find_refusals(migration, role)]


def _find_differences(known: Sequence[Migration], ledger: Sequence[LedgerEntry]) -> Iterator[Finding]:
    """The places where the files and the ledger do not fit together."""
    for item in migration_files.select_changed(known, ledger):
        problem = "It was applied before, and has been changed since."
        yield _make_finding(item.name, problem, "Undo the edit, and write what is to change as a new migration.")
    for name in migration_files.select_missing(known, ledger):
        problem = "It was applied before, and the file is not there any more."
        yield _make_finding(
            name, problem, "Put the file back as it was; deploy.rollback brings an earlier release back."
        )
    for name, later in migration_files.select_overtaken(known, ledger).items():
        problem = f"It is not applied, and {later}, which comes after it, is."
        yield _make_finding(
            name, problem, "Give it a number behind that one; or apply it by itself: db.migrate with `file`."
        )


def _make_finding(name: str, problem: str, fix: str, line: int | None = None) -> Finding:
    return Finding(f"migrations/{name}", line, problem, fix)
