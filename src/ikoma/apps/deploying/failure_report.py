"""Reports of failed rollouts: what one leaves is told with its error, so that nobody has to look for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.database import migration_files
from ikoma.apps.database.migrating import DatabaseMigrator, is_command
from ikoma.apps.releases.release import Release, Releases
from ikoma.errors import DeployFailed, EngineUnavailable, IkomaError, Next
from ikoma.ports.databases import LedgerEntry
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import RolloutState

Ledger = Sequence[LedgerEntry] | None
"""The migrations that a database has; None where that is not known."""


class FailureReport:
    """Looks at an app after a rollout of it has failed."""

    def __init__(self, runtime: Runtime, migrator: DatabaseMigrator) -> None:
        self._runtime = runtime
        self._migrator = migrator

    async def read_ledger(self, app: App) -> Ledger:
        with suppress(IkomaError):
            return await self._migrator.read_ledger(app)
        return None

    async def describe_release(self, app: App, release: Release, error: IkomaError, before: Ledger) -> None:
        """Say in its error what a release that never served leaves, and what the next deploy does.

        Args:
            before: what the database had when it began.
        """
        facts: dict[str, Any] = {"releaseId": release.id, "backup": Releases(app).find(release.id).backup}
        after = await self.read_ledger(app)
        if before is not None and after is not None:
            facts["migrationsApplied"] = sorted(_list_names(after) - _list_names(before))
        with suppress(IkomaError):
            facts["nextDeploy"] = {
                "migrations": [item.name for item in await self._migrator.list_pending(app)],
                "releaseCommand": bool(release.extension.get("release_command")),
            }
        error.details = {**error.details, **facts}
        shown = Next("release.show", {"appName": str(app.name), "release": release.id})
        if isinstance(error, DeployFailed) or not error.next:
            error.next = (shown, *error.next)
        with suppress(IkomaError):
            names = [item.name for item in migration_files.list_migrations(app)]
            migration_files.lead_to_file(error, "migrations", names)
        await self.describe_serving(app, error)

    async def describe_rollout(self, app: App, release: Release, error: IkomaError) -> None:
        """Say in its error what a rollout of a release that was made before leaves."""
        error.details = {"releaseId": release.id, "backup": None, "migrationsApplied": [], **error.details}
        await self.describe_serving(app, error)

    async def describe_serving(self, app: App, error: IkomaError) -> None:
        serving = await self._find_serving(app)
        error.details = {**error.details, "serving": serving}
        if serving is not None:
            error.hint += f" The release {serving} goes on serving."

    async def _find_serving(self, app: App) -> str | None:
        """Find the release that serves, as far as can be told."""
        state = RolloutState(app)
        serving = state.read_serving()
        if serving is None or serving.down or state.read_underway() is not None:
            return None
        with suppress(EngineUnavailable):
            there = (await self._runtime.observe(app)).serving
            if any(item.state == "running" for item in there):
                return serving.release
        return None


def _list_names(ledger: Sequence[LedgerEntry]) -> set[str]:
    """The migrations of a ledger, without the release commands."""
    return {entry.name for entry in ledger if not is_command(entry.name)}
