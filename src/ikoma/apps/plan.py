"""What a deploy would do, and a hash of all that it depends on: a deploy that is given it refuses what has changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps import comparison, compose_file, environment, equipment, extension
from ikoma.apps.folder import App
from ikoma.apps.logs import app_secrets
from ikoma.apps.mounts import Sources, bind_mounts, sources
from ikoma.apps.policy.facts import image_name
from ikoma.apps.release import Release, Releases
from ikoma.apps.rollout_state import RolloutState
from ikoma.apps.schema import Schema
from ikoma.apps.snapshot_manifest import MANIFEST, Snapshot
from ikoma.apps.source_changes import SourceChanges, look, marks
from ikoma.apps.strategy import why_alone
from ikoma.apps.validation import Report, Validator
from ikoma.errors import PlanDrifted
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
class Plan:
    hash: str
    report: Report
    services: tuple[ServicePlan, ...]
    rest: tuple[str, ...]
    source: SourceChanges
    migrations: tuple[Verdict, ...]
    ports: tuple[str, ...]


class Planner:
    """Makes plans. It changes nothing."""

    def __init__(self, engine: Engine, validator: Validator, schema: Schema, memory: int) -> None:
        self._engine = engine
        self._validator = validator
        self._schema = schema
        self._memory = memory

    async def plan(self, app: App) -> Plan:
        """What deploy.up would do now."""
        report = await self._validator.examine(app, images=False)
        identity = await self.hash(app, report)
        if report.model is None or report.errors:
            return Plan(identity, report, (), (), SourceChanges(), (), ())
        frozen = equipment.frozen(app, report.model, env={}, memory=self._memory)
        releases = Releases(app)
        current = releases.current()
        before = releases.model(current) if current else {}
        found = _sources(app, frozen)
        changes = await asyncio.to_thread(look, _root(app), found.paths, _snapshot(app, current))
        secrets = [*app_secrets(app), *environment.secret_values(releases.given(current) if current else {})]
        verdicts = await self._schema.verdicts(app)
        breaking = [verdict.name for verdict in verdicts if not verdict.compatible]
        return Plan(
            identity,
            report,
            await self._services(app, before, frozen, found, changes, secrets, breaking),
            comparison.compare_rest(before, frozen, secrets) if before else (),
            changes,
            tuple(verdicts),
            tuple(_ports(frozen)),
        )

    async def require(self, app: App, report: Report, expected: str) -> None:
        """Raises PlanDrifted where what a plan was made of is not as it was."""
        if await self.hash(app, report) != expected:
            raise PlanDrifted(f"{app.name} is not as it was when the plan was made.")

    async def hash(self, app: App, report: Report) -> str:
        """One checksum of the folder, the containers and the database, as far as a deploy depends on them."""
        paths = [app.compose_file, app.env_file, *(_sources(app, report.model).paths if report.model else ())]
        state = RolloutState(app)
        serving = [item for item in await self._engine.containers(app.name) if state.serves(item)]
        whole = [
            await asyncio.to_thread(marks, app.path, paths),
            report.model,
            [(item.id, item.state) for item in serving],
            state.serving(),
            await self._schema.ledger(app),
        ]
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()

    async def _services(
        self,
        app: App,
        before: Mapping[str, Any],
        frozen: Mapping[str, Any],
        found: Sources,
        changes: SourceChanges,
        secrets: Sequence[Any],
        breaking: Sequence[str],
    ) -> tuple[ServicePlan, ...]:
        compared = comparison.compare_services(before, frozen, secrets)
        lines = {item.service: item.lines for item in compared.changed}
        containers = await self._engine.containers(app.name)
        up = {item.service for item in containers if item.state == "running"}
        wishes = extension.read(frozen)
        plans, one_shot = [], compose_file.one_shot_services(frozen)
        for name, service in frozen["services"].items():
            reasons = [*lines.get(name, ()), *_touched(app, service, changes)]
            reasons += [f"it cannot run with {migration}" for migration in breaking]
            action = "add" if name in compared.added else "replace" if reasons or name not in up else "keep"
            if action == "replace" and not reasons:
                reasons = [RUNS_AGAIN if name in one_shot else "it does not run"]
            alone = why_alone(app, service, found, wishes.strategy_of(name)) if action == "replace" else None
            plans.append(ServicePlan(name, action, tuple(reasons), await self._image(app, service, action), alone))
        return (*plans, *(ServicePlan(name, "remove") for name in compared.removed))

    async def _image(self, app: App, service: Mapping[str, Any], action: str) -> str | None:
        if "build" in service:
            return None if action == "keep" else "build"
        own = str(service.get("image", "")).startswith(image_name(app.name, "")[:-1])
        return None if own or await self._engine.image_present(str(service.get("image"))) else "pull"


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
