"""deploy.plan: what a deploy would do."""

from __future__ import annotations

from ikoma.apps.plan import RUNS_AGAIN, ServicePlan
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role

_MOST_FILES = 50


class Change(Result):
    service: str
    action: str
    """add, replace, keep or remove."""
    reasons: list[str]
    image: str | None
    """build or pull, where its image is not here yet."""


class Migration(Result):
    name: str
    compatible: bool
    """Whether what serves can run with it; where not, it is stopped first."""
    reasons: list[str]
    locks: list[str]
    warnings: list[str]


class Downtime(Result):
    service: str
    expected: str
    """none, or how it is away."""
    reason: str


class Files(Result):
    added: list[str]
    changed: list[str]
    removed: list[str]
    count: int
    bytes: int
    """Disk that the new content takes."""


class Plan(Result):
    plan: str
    """Give it to deploy.up as `plan`: it then refuses where anything has changed since."""
    valid: bool
    changes: list[Change]
    rest: list[str]
    """Changes outside the services."""
    source: Files
    migrations: list[Migration]
    findings: list[str]
    downtime: list[Downtime]
    ports: list[str]


@capability("deploy.plan", role=Role.OBSERVER, effect=Effect.READS)
async def plan(call: Call, request: AppRequest) -> Plan:
    """What deploy.up would do: services, images, source, migrations and their locks, downtime; and a hash of it all.

    Use it before a deploy that matters. Next: deploy.up with `plan`.
    """
    made = await call.platform.planner.plan(call.app(request.app_name))
    source = made.source
    breaking = [verdict.name for verdict in made.migrations if not verdict.compatible]
    return Plan(
        plan=made.hash,
        valid=not made.report.errors,
        changes=[
            Change(service=item.service, action=item.action, reasons=list(item.reasons), image=item.image)
            for item in made.services
        ],
        rest=list(made.rest),
        source=Files(
            added=list(source.added[:_MOST_FILES]),
            changed=list(source.changed[:_MOST_FILES]),
            removed=list(source.removed[:_MOST_FILES]),
            count=len(source.added) + len(source.changed) + len(source.removed),
            bytes=source.size,
        ),
        migrations=[
            Migration(
                name=verdict.name,
                compatible=verdict.compatible,
                reasons=list(verdict.reasons),
                locks=[str(lock) for lock in verdict.locks],
                warnings=list(verdict.warnings),
            )
            for verdict in made.migrations
        ],
        findings=[str(finding) for finding in (*made.report.errors, *made.report.warnings)],
        downtime=[_downtime(item, breaking) for item in made.services if item.action != "add"],
        ports=list(made.ports),
    )


def _downtime(item: ServicePlan, breaking: list[str]) -> Downtime:
    if item.action == "remove":
        return Downtime(service=item.service, expected="for good", reason="The compose file has it no more.")
    if breaking:
        reason = f"It cannot run with {', '.join(breaking)}: it is stopped before, and requests wait."
        return Downtime(service=item.service, expected="until the new one is healthy", reason=reason)
    if item.alone is not None:
        reason = f"It is stopped before its replacement starts, because {item.alone}; requests wait meanwhile."
        return Downtime(service=item.service, expected="until the new one is healthy", reason=reason)
    if RUNS_AGAIN in item.reasons:
        return Downtime(service=item.service, expected="none", reason="It runs again, and ends.")
    reason = "It goes on as it is." if item.action == "keep" else "Old and new run side by side."
    return Downtime(service=item.service, expected="none", reason=reason)
