"""apps.import: take over an app that already runs here as a plain Compose project."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.importing.plan import ImportPlan
from ikoma.apps.importing.way_back import list_removal_commands, list_start_commands
from ikoma.capabilities.context import Call
from ikoma.errors import FileChanged, Next, NotImportable, OutOfScope
from ikoma.kernel.registry import NewAppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.model import Effect, Role


class AppsImportRequest(NewAppRequest):
    source: str = Field(min_length=1, max_length=4096)
    database: bool = False
    """Copy its PostgreSQL's rows too."""
    plan: bool = False
    seen: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """The plan's `sha256`."""
    timeout: int = Field(default=300, ge=1, le=3600)


class AppsImportService(Result):
    name: str
    becomes: str


class AppsImportVolume(Result):
    old: str
    new: str
    size: int | None
    """None where it cannot be seen from here."""


class AppsImportFile(Result):
    path: str
    diff: Annotated[str, Untrusted("compose file")]


class AppsImportDetails(Result):
    project: str
    folder: str
    services: Annotated[list[AppsImportService], Untrusted("compose file", ours=True)]
    volumes: list[AppsImportVolume]
    folders: Annotated[list[str], Untrusted("compose file")]
    """Data in the project's folder that is copied as the volumes are."""
    variables: Annotated[list[str], Untrusted("names of variables")]
    files: list[AppsImportFile]
    """How the compose files change."""
    changes: Annotated[list[str], Untrusted("compose file", ours=True)]
    left: Annotated[list[str], Untrusted("compose file", ours=True)]
    """Parts to mend first; the import is refused until then."""
    notes: Annotated[list[str], Untrusted("compose file", ours=True)]
    """Parts not taken over."""
    ports: list[str]
    """Host ports that the old one has until it is stopped."""
    stopped: list[str]
    """The old containers that are stopped in the end, and kept."""
    pause_seconds: int
    """For how long, about, they are held still while their data is copied first."""
    stop_seconds: int
    """For how long, about, neither of the two answers."""
    release: str | None = make_optional()
    waited_ms: int | None = make_optional()
    """For how long neither answered."""
    rows: dict[str, int] = make_optional()
    """Rows of each table, as many as there were."""
    start_again: list[str] = make_optional(())
    """Commands that bring the old one back."""
    remove_old: list[str] = make_optional(())
    """Commands that remove it for good."""
    urls: list[str] = make_optional(())


class AppsImportResult(Result):
    success: bool
    message: str
    sha256: str
    """Give it as `seen`."""
    details: AppsImportDetails
    next: Next | None = None


@capability("apps.import", role=Role.ADMIN, effect=Effect.CHANGES, open_world=True, undo="apps.remove", rare=True)
@listed(
    "start",
    "import",
    "Take over an app that runs under plain Compose.",
    by_hand=True,
    options={"appName": "--as"},
    not_over_mcp=("seen", "timeout"),
)
async def take_over(call: Call, request: AppsImportRequest) -> AppsImportResult:
    """Take over a Compose project; the old one is stopped once the app is healthy, and kept. First with `plan`."""
    if call.caller.apps:
        raise OutOfScope("This key reaches some apps only, and a project that is taken over is none of them.", next=())
    app = call.platform.apps.locate(request.app_name)
    with call.step("plan"):
        plan = await call.platform.import_planner.plan(app, request.source, database=request.database)
    if request.plan:
        return await _tell_plan(plan)
    if request.seen not in (None, plan.sha256):
        raise FileChanged("The project is not what it was when the plan was shown.")
    if plan.left:
        raise NotImportable(plan.left[0], audit_message="The project cannot be taken over as it is.", left=plan.left)
    options = DeployOptions(call.caller.name, request.timeout, call.progress, f"Imported from {plan.project.name}.")
    done = await call.platform.importer.carry_out(app, plan, options)
    owners = await call.platform.volumes.map_owners()
    known = await call.platform.volumes.describe_all()
    own = [name for name, owner in owners.items() if owner == plan.project.name]
    details = _describe(plan)
    details.notes += [f"{path} is neither a file nor a folder, and was not copied." for path in done.left]
    details.release = done.release.id
    details.waited_ms = round(done.waited * 1000)
    details.rows = dict(done.rows)
    details.start_again = list_start_commands(app, plan)
    details.remove_old = list_removal_commands(
        plan, [name for name in own if name in known], [name for name in own if name not in known]
    )
    details.urls = list(call.platform.routes.list_urls(app, done.release))
    old = f" {plan.project.name} is stopped, and kept." if plan.stopped else ""
    return AppsImportResult(
        success=True,
        message=f"{app.name} serves release {done.release.id}.{old}",
        sha256=plan.sha256,
        details=details,
        next=Next("apps.status"),
    )


async def _tell_plan(plan: ImportPlan) -> AppsImportResult:
    if plan.left:
        message = f"Nothing was changed. {plan.project.name} cannot be taken over as it is."
    else:
        message = f"Nothing was changed. {plan.project.name} can be taken over."
    return AppsImportResult(
        success=True,
        message=message,
        sha256=plan.sha256,
        details=_describe(plan),
        next=None if plan.left else Next("apps.import"),
    )


def _describe(plan: ImportPlan) -> AppsImportDetails:
    return AppsImportDetails(
        project=plan.project.name,
        folder=plan.project.folder,
        services=[AppsImportService(name=name, becomes=text) for name, text in plan.services.items()],
        volumes=[AppsImportVolume(old=item.old, new=item.new, size=item.size) for item in plan.volumes],
        folders=[item.path for item in plan.folders],
        variables=list(plan.variables),
        files=[AppsImportFile(path=item.path, diff=item.diff) for item in plan.files],
        changes=list(plan.changes),
        left=list(plan.left),
        notes=list(plan.notes),
        ports=list(plan.ports),
        stopped=[item.name for item in plan.stopped],
        pause_seconds=plan.pause_seconds,
        stop_seconds=plan.seconds,
    )
