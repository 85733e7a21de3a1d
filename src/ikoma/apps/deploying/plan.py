"""Plans of a deploy or a rollback, with a hash of all they depend on: given the hash, a deploy refuses what has
changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.migrating import DatabaseMigrator, DatabaseRollback
from ikoma.apps.database.rollback_planning import STAYS, DatabaseRollbackPlan, RollbackMethod
from ikoma.apps.deploying import comparison
from ikoma.apps.deploying.plan_services import (
    ServiceChanges,
    ServicePlan,
    find_deploy_images,
    has_build_changes,
    make_target,
    plan_services,
)
from ikoma.apps.deploying.release_files import read_snapshot
from ikoma.apps.deploying.release_tree import SQL, mark_data, read_dotenv, read_kept_dotenv, read_kept_marks
from ikoma.apps.deploying.rollback import RollbackRequest, Rollbacks
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.releases.scaling import fit_scale
from ikoma.apps.resolution.data_or_source import Kind, list_kinds
from ikoma.apps.rollouts import images, injection
from ikoma.apps.secrets import app_secrets
from ikoma.apps.source.changes import SourceChanges, compute_marks, find_changes
from ikoma.apps.validation.engine_facts import find_engine_facts
from ikoma.apps.validation.finding import Report
from ikoma.apps.validation.validator import Validator
from ikoma.apps.yaml import file_choice
from ikoma.compose.compose_file import Web
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.mounts import Sources, find_sources
from ikoma.compose.roles.release_command import ReleaseCommand
from ikoma.errors import CannotGoBack, DatabaseAhead, IkomaError, ImageGone, Next, PlanDrifted, PolicyViolation
from ikoma.model import Secret
from ikoma.ports.databases import Databases
from ikoma.ports.runtime import Engine
from ikoma.postgres.migrations.lint import MigrationVerdict
from ikoma.rollout_state import RolloutState


@dataclass(frozen=True, slots=True)
class RollbackEffect:
    """The effect of a rollback, besides the services."""

    release: str
    database: DatabaseRollbackPlan
    """The way of the database."""
    lost: tuple[str, ...] = ()
    """Losses of the database."""
    undone: tuple[str, ...] = ()
    """Migrations that the database does not have afterwards, the newest first."""
    stay: tuple[str, ...] = ()
    """Migrations that the database has now and afterwards."""


@dataclass(frozen=True, slots=True)
class DeployPlan:
    hash: str
    errors: tuple[str, ...] = ()
    """Why it would be refused."""
    warnings: tuple[str, ...] = ()
    services: tuple[ServicePlan, ...] = ()
    rest: tuple[str, ...] = ()
    source: SourceChanges = field(default_factory=SourceChanges)
    migrations: tuple[MigrationVerdict, ...] = ()
    ports: tuple[str, ...] = ()
    rollback: RollbackEffect | None = None
    route: str | None = None
    """The target of requests, and why; None where nothing is routed."""
    kinds: Sequence[Kind] = ()
    """The parts of the folder that are source, and those that are data."""
    leads: Sequence[Next] = ()
    """The calls that lead on where a rollback would be refused, the best first."""

    @property
    def has_doubtful_migrations(self) -> bool:
        """Whether a pending file ends what serves, needs a look, or goes through a whole table while it locks it."""
        files = [item for item in self.migrations if item.name.endswith(".sql")]  # a release command is no file
        return any(not item.compatible or item.warnings or _takes_long(item) for item in files)


class Planner:
    """Makes plans. It changes nothing."""

    def __init__(
        self,
        engine: Engine,
        databases: Databases,
        policy: Policy,
        validator: Validator,
        migrator: DatabaseMigrator,
        rollbacks: Rollbacks,
        *,
        memory: int,
    ) -> None:
        self._engine = engine
        self._databases = databases
        self._policy = policy
        self._validator = validator
        self._migrator = migrator
        self._rollbacks = rollbacks
        self._memory = memory

    async def plan(self, app: App) -> DeployPlan:
        """Plan a deploy as deploy.up would do it now."""
        report = await self._validator.examine(app, images=False)
        errors, warnings = (tuple(map(str, found)) for found in (report.errors, report.warnings))
        identity = await self._compute_hash(app, report)
        if report.model is None or report.errors:
            return DeployPlan(identity, errors, warnings)
        frozen = injection.freeze(app, report.model, env={}, memory=self._memory, variables=report.variables)
        current = Releases(app).find_current()
        before = Releases(app).read_model(current.id) if current else EMPTY
        found = await _find_sources(app, frozen)
        kept = read_snapshot(app, current)
        changes = await asyncio.to_thread(find_changes, _resolve_root(app), found, kept)
        verdicts = await self._migrator.lint_pending(app)
        if (command := frozen.x_ikoma.release_command) is not None:
            verdicts.append(_judge_command(command))
        breaking = [verdict.name for verdict in verdicts if not verdict.compatible]
        stops = f"it cannot run with {', '.join(breaking)}" if breaking else None
        given = report.variables
        secrets = [
            *_collect_secrets(app, current),
            *app_secrets.find_in_variables(given),
            *app_secrets.find_in_model(report.model),
        ]
        found_images = await find_deploy_images(
            self._engine.images, frozen, current, before, lambda service: not has_build_changes(app, service, changes)
        )

        def digest(path: Path) -> str:
            return "changed" if changes.has_any_below(kept.root, path) else kept.compute_digest(path)

        step = self._gather_changes(app, before, frozen, found, changes, secrets, found_images, given, digest, stops)
        marks = await asyncio.to_thread(mark_data, app, frozen, found)
        step = replace(
            step, dotenv=read_dotenv(app, frozen), marks=marks, marked=read_kept_marks(app, current) if current else {}
        )
        return DeployPlan(
            identity,
            errors,
            warnings,
            await self._plan_services(step, fetched=False),
            comparison.compare_rest(before, frozen, step.secrets) if current else (),
            changes,
            tuple(verdicts),
            tuple(_list_ports(frozen)),
            route=_describe_route(report.choice.web, report.choice.reason) if report.choice else None,
            kinds=report.kinds,
        )

    async def plan_rollback(self, app: App, request: RollbackRequest) -> DeployPlan:
        """Plan a rollback as deploy.rollback would do it now.

        Raises:
            NothingToGoBackTo, AlreadyServing, ReleaseNotFound
        """
        release, left = self._rollbacks.find_target(app, request.to), Releases(app).find_current()
        before, after = (Releases(app).read_model(item.id) if item else EMPTY for item in (left, release))
        change, refusals = await self._plan_change(app, release, request)
        refusals += await self._find_refusals(app, release, after)
        errors = [_describe_error(item) for item in refusals] + await self._list_occupied(app, after)
        lost = await self._migrator.count_losses(app, change) if change else []
        way = change.plan if change else STAYS
        stops = "the database is taken back" if change and change.stops_first else None
        files = comparison.compare_source(*(read_snapshot(app, item) for item in (left, release)))
        changes = SourceChanges(files.added, files.changed, files.removed)
        secrets = [*_collect_secrets(app, left), *_collect_secrets(app, release)]
        given, digest = Releases(app).read_variables(release), read_snapshot(app, release).compute_digest
        found = await _find_sources(app, after)
        step = self._gather_changes(app, before, after, found, changes, secrets, release.images, given, digest, stops)
        marked = read_kept_marks(app, left) if left else {}
        marks = read_kept_marks(app, release)
        step = replace(step, release=release.id, dotenv=read_kept_dotenv(app, release), marks=marks, marked=marked)
        return DeployPlan(
            await self._compute_rollback_hash(app, request, release, way),
            tuple(errors),
            services=await self._plan_services(step, fetched=True),
            rest=comparison.compare_rest(before, after, secrets) if left else (),
            source=changes,
            ports=tuple(_list_ports(after)),
            kinds=await asyncio.to_thread(list_kinds, app, after),
            rollback=RollbackEffect(release.id, way, tuple(lost), *await self._split_migrations(app, release, way)),
            route=_describe_route(release.routed),
            leads=[item for error in refusals for item in error.next],
        )

    async def require(self, app: App, report: Report, expected: str) -> None:
        """Raises PlanDrifted where what a plan was made of is not as it was."""
        if await self._compute_hash(app, report) != expected:
            raise PlanDrifted(f"{app.name} is not as it was when the plan was made.")

    async def require_rollback(self, app: App, request: RollbackRequest, expected: str) -> None:
        """Raises PlanDrifted where a rollback would not do what the plan said."""
        release = self._rollbacks.find_target(app, request.to)
        change, _ = await self._plan_change(app, release, request)
        if await self._compute_rollback_hash(app, request, release, change.plan if change else STAYS) != expected:
            asked = {"rollback": True, "to": request.to, "database": request.database or None}
            again = Next("deploy.plan", {name: value for name, value in asked.items() if value is not None})
            raise PlanDrifted(f"{app.name} is not as it was when the plan was made.", next=again)

    async def _compute_hash(self, app: App, report: Report) -> str:
        """One checksum of the folder, the containers and the database, as far as a deploy depends on them."""
        found = await _find_sources(app, report.model) if report.model else Sources((), ())
        paths = [*file_choice.list_paths(app), app.env_file, *found.paths]
        marked = await asyncio.to_thread(compute_marks, app.path, paths, found.left_out)
        owned = credentials.find(app)
        variables = credentials.list_parts(owned, self._databases.find_endpoint()) if owned else {}
        return _compute_digest(
            marked, report.model.raw if report.model else None, variables, await self._read_state(app)
        )

    async def _compute_rollback_hash(
        self, app: App, request: RollbackRequest, release: Release, way: DatabaseRollbackPlan
    ) -> str:
        return _compute_digest("rollback", release.id, request.database, str(way), await self._read_state(app))

    async def _read_state(self, app: App) -> list[Any]:
        """Read the containers that serve, and the ledger of their database."""
        state = await self._engine.runtime.observe(app)
        replicas = [(item.id, item.state, item.health == "unhealthy") for item in state.serving]
        return [replicas, state.record.serving, await self._migrator.read_ledger(app)]

    async def count_losses(self, app: App, request: RollbackRequest) -> tuple[Release, list[str]]:
        """Count what a rollback takes away for good, as of now; returns the target release and the losses."""
        release = self._rollbacks.find_target(app, request.to)
        change = await self._rollbacks.plan_change(app, release, database=request.database)
        return release, await self._migrator.count_losses(app, change) if change else []

    async def _plan_change(
        self, app: App, release: Release, request: RollbackRequest
    ) -> tuple[DatabaseRollback | None, list[IkomaError]]:
        """Plan what a rollback does to the database, or say why it would be refused."""
        try:
            return await self._rollbacks.plan_change(app, release, database=request.database), []
        except (CannotGoBack, DatabaseAhead) as error:
            return None, [error]

    async def _split_migrations(
        self, app: App, release: Release, way: DatabaseRollbackPlan
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split the migrations of the database into those that go with its way back, and those that stay."""
        has = [entry.name for entry in await self._migrator.read_ledger(app)]
        undone = way.undo
        if way.method is RollbackMethod.RESTORE:
            undone = tuple(name for name in reversed(has) if name not in release.migrations)
        return undone, tuple(name for name in has if name not in undone)

    async def _find_refusals(self, app: App, release: Release, model: ComposeModel) -> list[IkomaError]:
        """Find why a release may not run now as it did then, or cannot."""
        found: list[IkomaError] = []
        allowed = partial(self._policy.require, app, model, await find_engine_facts(self._engine, app))
        for check in (allowed, partial(images.require, self._engine.images, release.id, release.images)):
            try:
                await check()
            except (PolicyViolation, ImageGone) as error:
                found.append(error)
        return found

    async def _list_occupied(self, app: App, model: ComposeModel) -> list[str]:
        """List what stands in the way of a release: trouble of an earlier rollout, others' domains and ports."""
        underway = RolloutState(app).read_underway()
        found = [underway.trouble] if underway is not None and underway.trouble else []
        found += [
            f"The domain {item} belongs to another app." for item in self._validator.list_taken_domains(app, model)
        ]
        return found + [item.problem for item in await self._validator.find_conflicts(app, model)]

    async def _plan_services(self, step: ServiceChanges, *, fetched: bool) -> tuple[ServicePlan, ...]:
        plan = await self._engine.runtime.plan(step.app, make_target(step))
        return await plan_services(self._engine.images, step, plan, fetched=fetched)

    def _gather_changes(
        self,
        app: App,
        before: ComposeModel,
        after: ComposeModel,
        found: Sources,
        changes: SourceChanges,
        secrets: Sequence[Secret],
        images: Mapping[str, str],
        given: Mapping[str, str],
        digest: Callable[[Path], str],
        stops: str | None,
    ) -> ServiceChanges:
        """Gather all facts that a rollout would decide by."""
        current = Releases(app).find_current()
        return ServiceChanges(
            app=app,
            before=before,
            after=after,
            runs=injection.inject_database(app, after, self._databases.find_endpoint()),
            sources=found,
            changes=changes,
            secrets=secrets,
            images=images,
            former=current.images if current else {},
            given=given,
            digest=digest,
            scale=fit_scale(app, after),
            stops=stops,
        )


def _describe_error(error: IkomaError) -> str:
    return f"{error.message} {error.hint or ''}".rstrip()


def _compute_digest(*parts: Any) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _collect_secrets(app: App, release: Release | None) -> list[Secret]:
    """Values that no plan may tell: the app's own, and those that a release was made with."""
    return [*app_secrets.find_of_app(app), *(app_secrets.find_of_release(app, release) if release else ())]


async def _find_sources(app: App, model: ComposeModel) -> Sources:
    return await asyncio.to_thread(find_sources, app, model, besides=SQL)


def _describe_route(web: Web | None, reason: str = "") -> str | None:
    return None if web is None else f"{web.service}, port {web.port}{f': {reason}' if reason else ''}"


def _list_ports(model: ComposeModel) -> list[str]:
    return [
        f"{name}: {port.published} → {port.target}"
        for name, service in model.services.items()
        for port in service.ports
        if port.published
    ]


def _resolve_root(app: App) -> Path:
    return Path(os.path.realpath(app.path))


def _takes_long(verdict: MigrationVerdict) -> bool:
    return any(lock.rewritten or lock.scanned for lock in verdict.locks)


def _judge_command(command: ReleaseCommand) -> MigrationVerdict:
    """Judge a release command as the migration that it is to the database."""
    said = "It is marked `breaking`: what serves is stopped first." if command.breaking else None
    unknown = (
        "What it does to the database cannot be judged: say `breaking: true` where what serves cannot live with it."
    )
    return MigrationVerdict(
        f"release command of {command.service}: {' '.join(command.command)}",
        compatible=not command.breaking,
        reasons=(said,) if said else (),
        warnings=() if said else (unknown,),
        unknown=True,
    )
