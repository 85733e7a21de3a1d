"""Findings of migrations: those that were changed after they were applied."""

from __future__ import annotations

import asyncio

from ikoma.apps import credentials, sql_files
from ikoma.apps.folder import App
from ikoma.apps.validation.finding import Finding
from ikoma.errors import IkomaError
from ikoma.ports import Databases


async def find_changed_migrations(databases: Databases, app: App) -> list[Finding]:
    """Migrations that were applied and say something else now: no deploy applies them again."""
    if (owned := credentials.find(app)) is None:
        return []
    try:
        known = await asyncio.to_thread(sql_files.migrations, app)
        found = sql_files.changed(known, await databases.ledger(owned))
    except IkomaError:
        return []  # what cannot be read now stops a deploy by itself
    fix = "Undo the edit, and write what is to change as a new migration."
    problem = "It was applied before, and has been changed since."
    return [Finding(f"migrations/{item.name}", None, problem, fix) for item in found]
