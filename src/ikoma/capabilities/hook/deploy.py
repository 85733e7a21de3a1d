"""hook.deploy: what an app's webhook does, and all that it can do.

It deploys what the branch holds when its turn comes, whichever commit was pushed: of several pushes the newest counts,
and a delivery that somebody kept cannot bring an old commit back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.releases.release import Releases
from ikoma.apps.source import checkout, commit_statuses, webhook
from ikoma.apps.source.checkout import CheckoutRequest, NothingWatched
from ikoma.apps.source.commit_statuses import FAILURE, PENDING, SUCCESS, CommitStatus
from ikoma.apps.source.url import SourceUrl
from ikoma.apps.yaml import file_choice, watched
from ikoma.capabilities.context import Call
from ikoma.capabilities.deploy.up import DeployUpDetails, DeployUpRequest, up
from ikoma.errors import IkomaError
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role, make_printable

_SECONDS = 300
_LARGEST_COMPOSE = 1 << 20
_SHOWN = 5


class HookDeployRequest(AppRequest):
    commit: str | None = Field(default=None, pattern="^[0-9a-f]{40,64}$")
    """For the record."""


class HookDeployResult(Result):
    success: bool
    message: str
    commit: str
    deployed: bool
    """False where nothing has changed that x-ikoma: watch_paths names."""
    details: DeployUpDetails | None


@capability(
    "hook.deploy",
    role=Role.BUILDER,
    effect=Effect.CHANGES,
    open_world=True,
    queued=True,
    rare=True,
    undo="deploy.rollback",
)
@listed("git", no_verb="a push deploys by it; people have deploy.up")
async def deploy(call: Call, request: HookDeployRequest) -> HookDeployResult:
    """Deploy what the branch of an app's webhook holds now, as a push would.

    A newer call takes the place of one that waits.
    """
    app = call.find_app(request.app_name)
    hook, known = webhook.require(app), checkout.require(app)
    teller = _Teller(call, app, hook, SourceUrl.parse(known.url))
    commit = request.commit
    if commit:
        teller.begin(commit)
    try:
        wanted = CheckoutRequest(teller.url, hook.ref, known.path, into=known.into, watched=_find_watched(app))
        brought = await call.platform.sources.bring(
            app, wanted, caller=call.caller.name, timeout=_SECONDS, progress=call.progress
        )
        commit = brought.recorded.commit
        reason = f"{hook.ref} at {commit}"
        deployed = await up(call, DeployUpRequest.model_validate({"appName": request.app_name, "reason": reason}))
    except NothingWatched as nothing:
        for told in {request.commit or nothing.commit, nothing.commit}:
            await teller.tell(told, SUCCESS, "Nothing that is watched has changed: nothing was deployed.")
        return HookDeployResult(
            success=True, message=_explain_nothing(nothing), commit=nothing.commit, deployed=False, details=None
        )
    except BaseException as error:
        await asyncio.shield(teller.tell_failure({request.commit, commit}, error))
        raise
    for told in {request.commit or commit, commit}:
        words = f"{app.name} serves release {deployed.details.release}."
        await teller.tell(told, SUCCESS, words if told == commit else f"{commit[:12]} was deployed instead.")
    message = deployed.message
    if request.commit not in (None, commit):
        message = f"{message} {request.commit} was pushed, but {hook.ref} is at {commit}."
    if brought.left:
        message = f"{message} The server's own stays: {_list_some(brought.left)}."
    return HookDeployResult(success=True, message=message, commit=commit, deployed=True, details=deployed.details)


@dataclass(slots=True)
class _Teller:
    """Tells the git host how it goes, where a token for that was given."""

    call: Call
    app: App
    hook: webhook.Webhook
    url: SourceUrl
    telling: asyncio.Task[None] | None = None

    def begin(self, commit: str) -> None:
        """Tell that the deploy has begun; it does not wait for that."""
        self.telling = asyncio.create_task(self._tell(commit, PENDING, "The deploy has begun."))

    async def tell(self, commit: str, state: str, words: str) -> None:
        """Tell how it ended, after it was told that it began."""
        if self.telling is not None:
            await asyncio.wait([self.telling])
        await self._tell(commit, state, words)

    async def _tell(self, commit: str, state: str, words: str) -> None:
        if self.hook.statuses is None:
            return
        platform = self.call.platform
        kind = commit_statuses.find_host_kind(self.url, platform.hooks.find_host_kind(self.app.name))
        urls = platform.routes.list_urls(self.app, Releases(self.app).find_current())
        link = next((url for url in urls if url.startswith("https://")), None)
        status = CommitStatus(commit, state, words, f"ikoma/{self.app.name}", link)
        said = await commit_statuses.send_status(platform.sources.reach, self.url, kind, self.hook.statuses, status)
        with suppress(IkomaError):
            await platform.hooks.change(partial(platform.hooks.record_status, self.call.request_id, said))

    async def tell_failure(self, commits: set[str | None], error: BaseException) -> None:
        code = error.code if isinstance(error, IkomaError) else "operation_cancelled"
        for commit in commits - {None}:
            assert commit is not None
            await self.tell(commit, FAILURE, f"The deploy has failed ({code}); operations.get tells why.")


def _find_watched(app: App) -> tuple[str, tuple[str, ...]] | None:
    """Since which commit, and by which globs, it is asked whether a push is worth a deploy."""
    serving = Releases(app).find_current()
    if serving is None or serving.commit is None:
        return None
    files = [path for path in file_choice.list_paths(app) if path.is_file()]
    globs = watched.find_globs([app.read_inside(path, _LARGEST_COMPOSE) for path in files])
    return serving.commit, tuple(serving.extension.get("watch_paths") or ()) if globs is None else globs


def _explain_nothing(nothing: NothingWatched) -> str:
    changed = (
        f"changed since what is deployed: {_list_some(nothing.changed)}" if nothing.changed else "nothing has changed"
    )
    return f"Nothing was deployed. watch_paths are {_list_some(nothing.globs)}; {changed}."


def _list_some(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(make_printable(path)[:100] for path in paths[:_SHOWN]) + more
