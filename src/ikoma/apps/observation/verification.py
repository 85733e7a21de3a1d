"""The post-deployment checklist, answered from facts.

Every check looks at the thing itself, now. `required` ones decide; the others are advice that a good deployment
follows too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.database import credentials, migration_files
from ikoma.apps.database.backups import ProvenBackup
from ikoma.apps.observation.health import HealthObserver, Observation
from ikoma.apps.observation.runbook import is_current
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.rules import word_problem
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.resolution.routed_service import WebServices
from ikoma.apps.validation.engine_facts import find_engine_facts
from ikoma.apps.yaml import file_choice
from ikoma.compose.web_service import Choice
from ikoma.errors import IkomaError
from ikoma.kernel.coalesce import Coalesced
from ikoma.model import AppName
from ikoma.moments import tell_age
from ikoma.ports.databases import Databases, LedgerEntry
from ikoma.ports.runtime import Engine

_GATHER_SECONDS = 0.01

FindProven = Callable[[AppName], ProvenBackup | None]
"""Finds the newest backup of an app's database that a restore has proven."""


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One line of the checklist."""

    name: str
    passed: bool
    required: bool
    details: str


@dataclass(frozen=True, slots=True)
class _FilesChecked:
    """The checks of the app's compose files. `paths` are those that were read; none where they come to no model."""

    compose: ChecklistItem
    policy: ChecklistItem
    choice: Choice | None = None
    paths: Sequence[Path] = ()


class Verifier:
    """Verifies releases. Those who ask at once share one look, which starts after they asked."""

    def __init__(
        self,
        engine: Engine,
        resolutions: Resolutions,
        policy: Policy,
        databases: Databases,
        health: HealthObserver,
        find_proven: FindProven,
        web_services: WebServices,
    ) -> None:
        self._engine = engine
        self._resolutions = resolutions
        self._policy = policy
        self._databases = databases
        self._health = health
        self._find_proven = find_proven
        self._web_services = web_services
        self._looks: dict[App, Coalesced[list[ChecklistItem]]] = {}

    async def verify(self, app: App) -> list[ChecklistItem]:
        """The answers, in the order of the runbook's checklist."""
        look = self._looks.get(app)
        if look is None:
            look = self._looks[app] = Coalesced(lambda: self._check(app), gather=_GATHER_SECONDS)
        return await look.get()

    async def _check(self, app: App) -> list[ChecklistItem]:
        serving = Releases(app).find_current()
        seen, files, (migrations, logged_in) = await asyncio.gather(
            self._health.observe(app), self._check_compose(app), self._check_migrations(app, serving)
        )
        if not logged_in:
            seen = await self._health.observe(app, fresh_login=True)
        return [
            ChecklistItem(
                "folder",
                all(path.is_file() for path in files.paths or file_choice.list_paths(app)),
                True,
                f"{app.path} and its compose file.",
            ),
            files.compose,
            files.policy,
            _make_item("containers", seen),
            _check_health(seen),
            _check_route(seen, files.choice),
            _make_item("healthPath", seen),
            _make_item("database", seen),
            migrations,
            self._check_backup(app, seen),
            _check_runbook(app, seen),
            ChecklistItem("alerts", False, False, "No alerts are configured."),
            *([_MAINTENANCE] if seen.maintenance else ()),
        ]

    async def _check_compose(self, app: App) -> _FilesChecked:
        """Check whether the compose file resolves, whether the policy allows what it says, and what it has routed."""
        try:
            resolution = await self._resolutions.resolve(app, places=False)
            if resolution.model is None:
                error = resolution.error or "Compose refused the file."
                return _FilesChecked(
                    ChecklistItem("compose", False, True, error),
                    ChecklistItem("policy", False, True, "Nothing to judge."),
                )
            settled = await self._web_services.settle(app, resolution.model)
            verdict = await self._policy.judge(app, settled.model, await find_engine_facts(self._engine, app))
        except IkomaError as error:
            failed = [ChecklistItem(name, False, True, error.message) for name in ("compose", "policy")]
            return _FilesChecked(failed[0], failed[1])
        chosen = resolution.gathered.chosen if resolution.gathered else None
        paths = [app.path / name for name in chosen.files] if chosen else []
        resolves = ChecklistItem("compose", True, True, "The compose file resolves.")
        waived = "; ".join(map(str, verdict.used))
        judged = ChecklistItem("policy", True, True, f"{waived}." if waived else "No rule is broken, none waived.")
        if verdict.refused:
            judged = ChecklistItem("policy", False, True, word_problem(verdict.refused[0]))
        return _FilesChecked(resolves, judged, settled.choice, paths)

    async def _check_migrations(self, app: App, serving: Release | None) -> tuple[ChecklistItem, bool]:
        """Check that no migration is pending, but those of another release that the one that serves came back from.

        Also whether the app's role, where it has one, has logged in anew for that: then it need not be tried besides.
        """
        owned = credentials.find(app)
        try:
            ledger = await self._databases.read_ledger(owned, fresh=True) if owned else []
        except IkomaError as error:
            return ChecklistItem("migrations", False, True, error.message), False
        return self._compare_migrations(app, serving, ledger), True

    def _compare_migrations(self, app: App, serving: Release | None, ledger: Sequence[LedgerEntry]) -> ChecklistItem:
        try:
            known = migration_files.list_migrations(app)
        except IkomaError as error:
            return ChecklistItem("migrations", False, True, error.message)
        pending = [item.name for item in migration_files.select_pending(known, ledger)]
        undone = _find_undone(app, serving) if pending and serving else frozenset()
        waiting = [name for name in pending if name not in undone]
        applied = {entry.name: entry.checksum for entry in ledger}
        changed = [item.name for item in known if applied.get(item.name, item.checksum) != item.checksum]
        if waiting:
            return ChecklistItem("migrations", False, True, f"Pending: {', '.join(waiting)}.")
        if changed:
            return ChecklistItem("migrations", False, True, f"Changed since they were applied: {', '.join(changed)}.")
        later = f"the next deploy applies {', '.join(pending)}" if pending else "none pending"
        return ChecklistItem("migrations", True, True, f"{len(ledger)} applied, {later}.")

    def _check_backup(self, app: App, seen: Observation) -> ChecklistItem:
        if credentials.find(app) is None:
            return ChecklistItem("backup", True, False, "The app has no database.")
        latest = self._find_proven(app.name)
        if latest is None:
            return ChecklistItem("backup", False, False, "There is no proven backup; db.backup makes one.")
        said = f"The last proven backup is {latest.name}, made {tell_age(latest.created_at)}"
        if seen.release is None:
            return ChecklistItem("backup", True, False, f"{said}; nothing is deployed yet.")
        newer = latest.created_at > seen.release.started_at
        return ChecklistItem("backup", newer, False, f"{said}, {'newer' if newer else 'older'} than the release.")


_MAINTENANCE = ChecklistItem("maintenance", False, False, "People get the page of maintenance instead of the app.")


def _make_item(name: str, seen: Observation) -> ChecklistItem:
    """A look at health as a line of the checklist; where there is nothing to look at, nothing is wrong."""
    check = seen.checks.get(name) or seen.checks["state"]  # what is noted of the app cannot be read: nothing is known
    return ChecklistItem(name, check.passed is not False, check.passed is not None, check.details)


def _check_route(seen: Observation, choice: Choice | None) -> ChecklistItem:
    """Tell which service gets the requests, as the release that serves has it."""
    if seen.release is not None and (web := seen.release.routed) is not None:
        reason = f": {choice.reason}" if choice is not None and choice.web == web and choice.reason else ""
        return ChecklistItem("route", True, False, f"Requests go to {web.service}, port {web.port}{reason}.")
    if choice is None or choice.declined:
        declined = choice is not None
        return ChecklistItem("route", declined, False, "The app answers no HTTP." if declined else "Nothing is routed.")
    if choice.web is not None:
        waits = f"The next deploy routes requests to {choice.web.service}, port {choice.web.port}."
        return ChecklistItem("route", False, False, waits)
    return ChecklistItem("route", False, False, f"{choice.problem} {choice.advice}")


def _check_health(seen: Observation) -> ChecklistItem:
    return ChecklistItem("health", seen.health == "healthy", True, f"The app is {seen.health}.")


def _find_undone(app: App, serving: Release) -> frozenset[str]:
    """Migrations that other releases have, and the one that serves has not."""
    others = (item for item in Releases(app).list_all() if item.id != serving.id)
    return frozenset(name for item in others for name in item.migrations) - frozenset(serving.migrations)


def _check_runbook(app: App, seen: Observation) -> ChecklistItem:
    if seen.release is None:
        return ChecklistItem("runbook", False, False, "There is no release yet that RUNBOOK.md could describe.")
    current = is_current(app, seen.release.id)
    details = (
        "RUNBOOK.md describes this release."
        if current
        else "RUNBOOK.md is not of this release; the next deploy writes it."
    )
    return ChecklistItem("runbook", current, False, details)
