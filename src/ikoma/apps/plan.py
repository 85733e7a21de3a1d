"""What a deploy or a rollback would do, and a hash of all it depends on: given that, it refuses what has changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps import comparison, compose_file, environment, equipment, extension, images
from ikoma.apps.folder import App
from ikoma.apps.logs import app_secrets
from ikoma.apps.mounts import Sources, bind_mounts, sources
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.facts import image_name
from ikoma.apps.release import Release, Releases
from ikoma.apps.rollback import Rollbacks, Wanted
from ikoma.apps.rollout_state import RolloutState
from ikoma.apps.schema import Back, Schema
from ikoma.apps.snapshot_manifest import MANIFEST, Snapshot
from ikoma.apps.source_changes import SourceChanges, look, marks
from ikoma.apps.strategy import why_alone
from ikoma.apps.validation import Report, Validator
from ikoma.apps.ways_back import STAYS, WayBack
from ikoma.errors import CannotGoBack, DatabaseAhead, IkomaError, ImageGone, PlanDrifted, PolicyViolation
from ikoma.model import Secret
from ikoma.ports import Engine
from ikoma.postgres.migration_lint import Verdict

SQL = ("migrations", "seeds")
"""Folders that are part of a release though no container reads them."""
RUNS_AGAIN = "it runs again with each deploy"
"""Of a service that others wait for until it has ended."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What becomes of one service, and why."""

    service: str
    action: str
    """add, replace, keep or remove."""
    reasons: tuple[str, ...] = ()
    image: str | None = None
    """build or pull, where its image is not here yet."""
    alone: str | None = None
    """Why it is stopped before its replacement starts; None where the two run side by side."""


@dataclass(frozen=True, slots=True)
class Return:
    """What a rollback leads to, besides the services."""

    release: str
    way: WayBack
    """What becomes of the database."""
    lost: tuple[str, ...] = ()
    """What is gone from the database afterwards."""


@dataclass(frozen=True, slots=True)
class Plan:
    hash: str
    errors: tuple[str, ...] = ()
    """Why it would be refused."""
    warnings: tuple[str, ...] = ()
    services: tuple[ServicePlan, ...] = ()
    rest: tuple[str, ...] = ()
    source: SourceChanges = field(default_factory=SourceChanges)
    migrations: tuple[Verdict, ...] = ()
    ports: tuple[str, ...] = ()
    stops: str | None = None
    """Why all that serves is stopped first; None where it is not."""
    rollback: Return | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """From one model to the next, and what that means for all services alike."""

    app: App
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    sources: Sources
    changes: SourceChanges
    secrets: Sequence[Secret]
    stops: str | None = None
    others: frozenset[str] | None = None
    """Services whose images are others; None where images are yet to be built and pulled."""


class Planner:
    """Makes plans. It changes nothing."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        validator: Validator,
        schema: Schema,
        rollbacks: Rollbacks,
        *,
        memory: int,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._validator = validator
        self._schema = schema
        self._rollbacks = rollbacks
        self._memory = memory

    async def plan(self, app: App) -> Plan:
        """What deploy.up would do now."""
        report = await self._validator.examine(app, images=False)
        errors, warnings = (tuple(map(str, found)) for found in (report.errors, report.warnings))
        identity = await self._hash(app, report)
        if report.model is None or report.errors:
            return Plan(identity, errors, warnings)
        frozen = equipment.frozen(app, report.model, env={}, memory=self._memory)
        current = Releases(app).current()
        before = Releases(app).model(current) if current else {}
        found = _sources(app, frozen)
        changes = await asyncio.to_thread(look, _root(app), found.paths, _snapshot(app, current))
        verdicts = await self._schema.verdicts(app)
        breaking = [verdict.name for verdict in verdicts if not verdict.compatible]
        stops = f"it cannot run with {', '.join(breaking)}" if breaking else None
        step = _Step(app, before, frozen, found, changes, _secrets(app, current), stops)
        return Plan(
            identity,
            errors,
            warnings,
            await self._services(step),
            comparison.compare_rest(before, frozen, step.secrets) if before else (),
            changes,
            tuple(verdicts),
            tuple(_ports(frozen)),
            stops,
        )

    async def plan_rollback(self, app: App, wanted: Wanted) -> Plan:
        """What deploy.rollback would do now.

        Raises:
            NothingToGoBackTo, AlreadyServing, ReleaseNotFound
        """
        release, left = self._rollbacks.target(app, wanted.to), Releases(app).current()
        before, after = (Releases(app).model(item) if item else {} for item in (left, release))
        change, errors = await self._change(app, release, wanted)
        errors += await self._refusals(app, release, after)
        lost = await self._schema.losses(app, change) if change else []
        way = change.way if change else STAYS
        stops = "the database is taken back" if change and change.stops_first else None
        files = comparison.compare_source(*(_snapshot(app, item) for item in (left, release)))
        changes = SourceChanges(files.added, files.changed, files.removed)
        others = frozenset(name for name, _ in release.images.items() ^ (left.images if left else {}).items())
        secrets = [*_secrets(app, left), *_secrets(app, release)]
        step = _Step(app, before, after, _sources(app, after), changes, secrets, stops, others)
        return Plan(
            await self._rollback_hash(app, wanted, release, way),
            tuple(errors),
            services=await self._services(step),
            rest=comparison.compare_rest(before, after, secrets) if before else (),
            source=changes,
            ports=tuple(_ports(after)),
            stops=stops,
            rollback=Return(release.id, way, tuple(lost)),
        )

    async def require(self, app: App, report: Report, expected: str) -> None:
        """Raises PlanDrifted where what a plan was made of is not as it was."""
        if await self._hash(app, report) != expected:
            raise PlanDrifted(f"{app.name} is not as it was when the plan was made.")

    async def require_rollback(self, app: App, wanted: Wanted, expected: str) -> None:
        """Raises PlanDrifted where a rollback would not do what the plan said."""
        release = self._rollbacks.target(app, wanted.to)
        change, _ = await self._change(app, release, wanted)
        if await self._rollback_hash(app, wanted, release, change.way if change else STAYS) != expected:
            raise PlanDrifted(f"{app.name} is not as it was when the plan was made.")

    async def _hash(self, app: App, report: Report) -> str:
        """One checksum of the folder, the containers and the database, as far as a deploy depends on them."""
        paths = [app.compose_file, app.env_file, *(_sources(app, report.model).paths if report.model else ())]
        return _digest(await asyncio.to_thread(marks, app.path, paths), report.model, await self._state(app))

    async def _rollback_hash(self, app: App, wanted: Wanted, release: Release, way: WayBack) -> str:
        return _digest("rollback", release.id, wanted.database, str(way), await self._state(app))

    async def _state(self, app: App) -> list[Any]:
        """What serves, and what its database has."""
        state = RolloutState(app)
        serving = [item for item in await self._engine.containers(app.name) if state.serves(item)]
        containers = [(item.id, item.state) for item in serving]
        return [containers, state.serving(), await self._schema.ledger(app)]

    async def _change(self, app: App, release: Release, wanted: Wanted) -> tuple[Back | None, list[str]]:
        """What a rollback does to the database, or why it would be refused."""
        try:
            return await self._rollbacks.change(app, release, database=wanted.database), []
        except (CannotGoBack, DatabaseAhead) as error:
            return None, [_said(error)]

    async def _refusals(self, app: App, release: Release, model: Mapping[str, Any]) -> list[str]:
        """Why a release could not run now as it did then."""
        found = []
        allowed = partial(self._policy.require, app, model)
        for check in (allowed, partial(images.require, self._engine, release.id, release.images)):
            try:
                await check()
            except (PolicyViolation, ImageGone) as error:
                found.append(_said(error))
        return found

    async def _services(self, step: _Step) -> tuple[ServicePlan, ...]:
        app = step.app
        compared = comparison.compare_services(step.before, step.after, step.secrets)
        lines = {item.service: item.lines for item in compared.changed}
        containers = await self._engine.containers(app.name)
        up = {item.service for item in containers if item.state == "running"}
        wishes = extension.read(step.after)
        plans, one_shot = [], compose_file.one_shot_services(step.after)
        for name, service in step.after["services"].items():
            reasons = [*lines.get(name, ()), *_touched(app, service, step.changes)]
            reasons += ["its image is another"] if name in (step.others or ()) and not reasons else []
            reasons += [step.stops] if step.stops else []
            action = "add" if name in compared.added else "replace" if reasons or name not in up else "keep"
            if action == "replace" and not reasons:
                reasons = [RUNS_AGAIN if name in one_shot else "it does not run"]
            alone = why_alone(app, service, step.sources, wishes.strategy_of(name)) if action == "replace" else None
            image = await self._image(app, service, action) if step.others is None else None
            plans.append(ServicePlan(name, action, tuple(reasons), image, alone))
        return (*plans, *(ServicePlan(name, "remove") for name in compared.removed))

    async def _image(self, app: App, service: Mapping[str, Any], action: str) -> str | None:
        if "build" in service:
            return None if action == "keep" else "build"
        own = str(service.get("image", "")).startswith(image_name(app.name, "")[:-1])
        return None if own or await self._engine.image_present(str(service.get("image"))) else "pull"


def _said(error: IkomaError) -> str:
    return f"{error.message} {error.hint or ''}".rstrip()


def _digest(*parts: Any) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _secrets(app: App, release: Release | None) -> list[Secret]:
    """Values that no plan may tell: the app's own, and those that a release was made with."""
    return [*app_secrets(app), *environment.secret_values(Releases(app).given(release) if release else {})]


def _sources(app: App, model: Mapping[str, Any]) -> Sources:
    return sources(app, model, extension.read(model).data, besides=SQL)


def _snapshot(app: App, release: Release | None) -> Snapshot:
    if release is None:
        return Snapshot(_root(app), {})
    try:
        return Snapshot.read(Releases(app).folder(release.id) / MANIFEST, app.path)
    except FileNotFoundError:
        return Snapshot(_root(app), {})


def _touched(app: App, service: Mapping[str, Any], changes: SourceChanges) -> list[str]:
    """Which of what a service mounts or is built from has changed."""
    build = service.get("build") or {}
    mounted = [str(mount["source"]) for mount in bind_mounts({"services": {"": service}})]
    contexts = [
        str(path) for path in (build.get("context"), *(build.get("additional_contexts") or {}).values()) if path
    ]
    return [
        f"{os.path.relpath(path, app.path)} has changed"
        for path in dict.fromkeys((*mounted, *contexts))
        if path.startswith("/") and changes.below(_root(app), Path(os.path.realpath(path)))
    ]


def _ports(model: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {port.get('published')} → {port.get('target')}"
        for name, service in model["services"].items()
        for port in service.get("ports") or []
        if port.get("published")
    ]


def _root(app: App) -> Path:
    return Path(os.path.realpath(app.path))
