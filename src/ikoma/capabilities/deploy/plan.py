"""deploy.plan: what a deploy, or a rollback, would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import model_validator

from ikoma.app_folder import App
from ikoma.apps.deploying.plan import DeployPlan, RollbackEffect
from ikoma.apps.deploying.rollback import RollbackRequest
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.answers.leading import may_call
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, registry
from ikoma.model import Effect, ReleaseId, Role

_MOST_FILES = 50


class DeployPlanRequest(AppRequest):
    rollback: bool = False
    """Plan deploy.rollback instead."""
    to: ReleaseId | None = None
    database: bool = False

    @model_validator(mode="after")
    def belongs_to_a_rollback(self) -> Self:
        if not self.rollback and (self.to or self.database):
            raise ValueError('"to" and "database" are of a rollback: say "rollback" too')
        return self


class DeployPlanChange(Result):
    service: str
    action: str
    """add, replace, keep or remove."""
    reasons: Annotated[list[str], Untrusted("plan", ours=True)]
    image: str | None
    """build or pull, where its image is not here yet."""


class DeployPlanMigration(Result):
    name: str
    compatible: bool
    """Whether what serves can run with it; where not, it is stopped first."""
    reasons: Annotated[list[str], Untrusted("plan", ours=True)]
    locks: Annotated[list[str], Untrusted("plan", ours=True)]
    warnings: Annotated[list[str], Untrusted("plan", ours=True)]


class DeployPlanDowntime(Result):
    service: str
    expected: str
    """none, or how it is away."""
    reason: str


class DeployPlanFiles(Result):
    added: list[str]
    changed: list[str]
    removed: list[str]
    count: int
    bytes: int
    """Disk that the new content takes."""


class DeployPlanFolder(Result):
    path: str
    kind: str
    """source (a copy is the release's) or data (mounted from where it is, and shared by all releases)."""
    reason: str


class DeployPlanRollback(Result):
    release: str
    database: str
    """Tells what becomes of it."""
    lost: Annotated[list[str], Untrusted("plan", ours=True)]
    """Losses of it, counted now."""
    undone: Annotated[list[str], Untrusted("plan", ours=True)]
    """Migrations that it does not have afterwards, the newest first."""
    stay: Annotated[list[str], Untrusted("plan", ours=True)]
    """Migrations that it keeps."""


class DeployPlanResult(Result):
    plan: str
    """Give it to deploy.up or deploy.rollback as `plan`: it then refuses where anything has changed since."""
    valid: bool
    changes: list[DeployPlanChange]
    rest: Annotated[list[str], Untrusted("plan", ours=True)]
    """Changes outside the services."""
    source: DeployPlanFiles
    migrations: list[DeployPlanMigration]
    findings: Annotated[list[str], Untrusted("plan", ours=True)]
    downtime: list[DeployPlanDowntime]
    ports: list[str]
    route: str | None
    """Where requests go; None where nothing is routed."""
    folders: list[DeployPlanFolder]
    """Folders it mounts and builds from."""
    rollback: DeployPlanRollback | None
    next: Next | None = None


@capability("deploy.plan", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "deploy",
    "plan",
    "Show what a deploy or a rollback would do.",
    well=("valid", True),
    not_in_text=("valid",),
    says=lambda fields: f"This can{'' if fields.get('valid') else 'not'} be done.",
)
async def plan(call: Call, request: DeployPlanRequest) -> DeployPlanResult:
    """Show what deploy.up would do, or with `rollback` deploy.rollback: services, migrations, downtime, rows lost.

    Use it before a deploy that matters. Next: deploy.up with `plan`.
    """
    app = call.find_app(request.app_name)
    planner = call.platform.planner
    wanted = RollbackRequest(request.to, request.database)
    made = await (planner.plan_rollback(app, wanted) if request.rollback else planner.plan(app))
    source = made.source
    return DeployPlanResult(
        plan=made.hash,
        valid=not made.errors,
        changes=[
            DeployPlanChange(service=item.service, action=item.action, reasons=list(item.reasons), image=item.image)
            for item in made.services
        ],
        rest=list(made.rest),
        source=DeployPlanFiles(
            added=list(source.added[:_MOST_FILES]),
            changed=list(source.changed[:_MOST_FILES]),
            removed=list(source.removed[:_MOST_FILES]),
            count=len(source.added) + len(source.changed) + len(source.removed),
            bytes=source.size,
        ),
        migrations=[
            DeployPlanMigration(
                name=verdict.name,
                compatible=verdict.compatible,
                reasons=list(verdict.reasons),
                locks=[str(lock) for lock in verdict.locks],
                warnings=list(verdict.warnings),
            )
            for verdict in made.migrations
        ],
        findings=[*made.errors, *made.warnings],
        downtime=[
            DeployPlanDowntime(service=item.service, expected=away.expected, reason=away.reason)
            for item in made.services
            if (away := item.downtime)
        ],
        ports=list(made.ports),
        route=made.route,
        folders=[DeployPlanFolder.model_validate(item, from_attributes=True) for item in made.kinds],
        rollback=_back(made.rollback) if made.rollback else None,
        next=await _lead(call, app, request, made),
    )


async def _lead(call: Call, app: App, request: DeployPlanRequest, made: DeployPlan) -> Next | None:
    if made.errors:
        return _choose_mending(request, made.leads)
    if not request.rollback and await _is_to_be_rehearsed(call, app, made):
        return Next("db.migrate", {"dryRun": True})
    return _make_applying(request, made.hash)


async def _is_to_be_rehearsed(call: Call, app: App, made: DeployPlan) -> bool:
    """Whether a pending migration could hurt what is there, and this key may try it on a copy first."""
    rehearsal = registry.get("db.migrate")
    return (
        made.has_doubtful_migrations
        and may_call(rehearsal, call.caller, call.role)
        and call.lists(rehearsal)
        and await call.platform.databases.owns(app.name)
    )


def _back(found: RollbackEffect) -> DeployPlanRollback:
    return DeployPlanRollback(
        release=found.release,
        database=str(found.database),
        lost=list(found.lost),
        undone=list(found.undone),
        stay=list(found.stay),
    )


def _choose_mending(request: DeployPlanRequest, leads: Sequence[Next]) -> Next | None:
    """Findings of the folder have a place and a fix there; a rollback is led to where its refusal leads."""
    return next(iter(leads), None) if request.rollback else Next("apps.validate")


def _make_applying(request: DeployPlanRequest, plan: str) -> Next:
    """The call that does what was planned, and nothing else."""
    if not request.rollback:
        return Next("deploy.up", {"plan": plan})
    wanted = {"to": request.to, "database": request.database or None, "plan": plan}
    return Next("deploy.rollback", {name: value for name, value in wanted.items() if value is not None})
