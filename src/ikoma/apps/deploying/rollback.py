"""Going back to an earlier release: to which one, and what that needs of the app's database."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseMigrator, DatabaseRollback
from ikoma.apps.releases.release import Release, Releases
from ikoma.errors import AlreadyServing, CannotGoBack, DatabaseAhead, Next, NothingToGoBackTo
from ikoma.rollout_state import RolloutState


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """A return as a caller asks for it."""

    to: str | None = None
    """The id of a release; by default the one that served before."""
    database: bool = False
    """Whether the database goes back too."""


class Rollbacks:
    """Says whether and how apps can go back. It changes nothing."""

    def __init__(self, migrator: DatabaseMigrator) -> None:
        self._migrator = migrator

    def find_target(self, app: App, to: str | None) -> Release:
        """Find the release that going back leads to.

        Raises:
            NothingToGoBackTo, AlreadyServing, ReleaseNotFound
        """
        releases, current = Releases(app), Releases(app).find_current()
        if to is None:
            found = releases.find_last_good(other_than=current.id if current else None)
            if found is None:
                raise NothingToGoBackTo(f"No other release of {app.name} has served.")
            return found
        found = releases.find(to)
        serving = RolloutState(app).read_serving()
        if current is not None and found.id == current.id and serving is not None and not serving.down:
            raise AlreadyServing(f"{app.name} serves {found.id} now.")
        if found.served_at is None:
            raise NothingToGoBackTo(f"The release {found.id} never served.", cause=found.cause)
        return found

    async def plan_change(self, app: App, release: Release, *, database: bool) -> DatabaseRollback | None:
        """Plan the change of the database, so that a release can run with it; None where it stays as it is.

        Raises:
            DatabaseAhead: the release cannot run with the database as it is.
            CannotGoBack: the database cannot be taken back, or does not have what the release relies on.
        """
        if database:
            return await self._migrator.prepare_rollback(app, release, Releases(app).find_current())
        if breaking := self._find_breaking_since(app, release):
            both = {"to": release.id, "database": True}
            asked = {"rollback": True, **both}
            raise DatabaseAhead(
                f"The migrations of {breaking.id} changed what {release.id} relies on.",
                hint=f"Call deploy.rollback {json.dumps(both)} to take the database back too;"
                f" deploy.plan {json.dumps(asked)} says what is lost.",
                next=[Next("deploy.plan", asked)],
            )
        if lacking := await self._list_lacking(app, release):
            raise CannotGoBack(
                f"{release.id} relies on {', '.join(lacking)}, which the database does not have any more.",
                hint="deploy.up applies the migrations of the folder and deploys it.",
                next=[Next("deploy.plan")],
            )
        return None

    async def _list_lacking(self, app: App, release: Release) -> list[str]:
        """Migrations that a release was deployed with, and that its database does not have now."""
        has = {entry.name for entry in await self._migrator.read_ledger(app)} if release.ledger else set()
        return [name for name in release.migrations if name not in has]

    def _find_breaking_since(self, app: App, release: Release) -> Release | None:
        """Find a later release whose migrations an earlier one cannot run with, as long as the database has them."""
        has = {entry["name"] for entry in (Releases(app).require_current()).ledger}
        later = [item for item in Releases(app).list_all() if item.id > release.id and not item.compatible]
        return next((item for item in later if item.served_at and has & set(item.applied)), None)
