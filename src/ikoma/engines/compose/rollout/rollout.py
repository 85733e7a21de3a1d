"""A rollout: the containers of one release come up beside those that serve, and take over when all is well.

Nothing that serves is touched before what replaces it stands, except where two cannot run at once: those are stopped,
kept, and started again when their replacement fails. Until the rollout is written down as the one that serves, every
failure undoes it; from then on everything leads forward. `recover` does either after a kill.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ikoma.app_folder import App
from ikoma.checkpoints import checkpoint
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.replicas import make_replicas
from ikoma.engines.compose.rollout import anonymous_volumes, one_off_commands
from ikoma.engines.compose.rollout.drift import is_of_subnets
from ikoma.engines.compose.rollout.new_rollout import NewRollout
from ikoma.engines.compose.rollout.planning import find_anonymous_volumes, make_plan
from ikoma.engines.compose.rollout.standby import StandbyReactivation
from ikoma.engines.docker.containers import Container
from ikoma.errors import DeployFailed, EngineUnavailable, IkomaError
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.rollout import RolloutHooks, RolloutPlan, RolloutResult, RolloutTarget, SettlingHooks
from ikoma.rollout_state import RolloutState, Serving, Standby, name_rollout, parse_rollout

log = logging.getLogger("ikoma")

_STOP_PATIENCE = 1.0
"""How long an answer waits for replaced containers to end. They have their own time to, and go on ending after it."""

_REST = " What it replaced is still to be removed: that is done when Docker answers."


@dataclass(frozen=True, slots=True)
class _Work:
    app: App
    target: RolloutTarget
    hooks: RolloutHooks
    timeout: float
    progress: Progress


class ComposeRollouts:
    """Rolls releases out. Callers hold the app's lock."""

    def __init__(self, engine: ComposeEngine) -> None:
        self._engine = engine
        self._ending: dict[App, asyncio.Task[None]] = {}

    async def roll(
        self,
        app: App,
        target: RolloutTarget,
        plan: RolloutPlan,
        hooks: RolloutHooks,
        *,
        timeout: float,
        progress: Progress,
    ) -> RolloutResult:
        """Bring a release up as planned, and let it take over.

        Args:
            timeout: seconds until every container must be healthy.

        Raises:
            DeployFailed: something did not come up; what served before serves, and what is in standby stays so.
        """
        work = _Work(app, target, hooks, timeout, progress)
        standby = RolloutState(app).read_standby()
        if plan.reactivates and standby is not None:
            there = await self._engine.list_containers(app.name)
            reactivation = StandbyReactivation(self._engine, hooks, app, target, standby, there)
            try:
                return await self._resume(work, reactivation)
            except DeployFailed as failed:  # some come up only once: a stale pid file is enough
                progress(f"{failed.message} Its containers are made anew.")
            plan = await make_plan(self._engine, app, target, anew=True)
        return await self._replace(work, plan)

    async def _replace(self, work: _Work, plan: RolloutPlan) -> RolloutResult:
        """Make new containers, and let them take over."""
        app, target = work.app, work.target
        before = RolloutState(app).read_serving()
        resting = RolloutState(app).read_standby()  # until this has taken over: where it fails, the window goes on
        everyone = await self._engine.list_containers(app.name)
        there = [item for item in everyone if resting is None or item.id not in resting.containers]
        anonymous = await find_anonymous_volumes(self._engine, app, target, everyone)
        beside = Counter(item.service for item in everyone if item not in there)
        new = NewRollout(self._engine, work.hooks, app, target, name_rollout(), plan, there, anonymous, beside)
        async with self._engine.watch_containers(app.name) as watching:
            try:
                await new.rehearse(work.progress)
                await new.make_containers(work.progress)
                await new.bring_up(watching, work.timeout, work.progress)
                containers = [item for item in await self._engine.list_containers(app.name) if item.id in new.ours]
                await new.take_over(containers)
            except BaseException as error:
                if isinstance(error, IkomaError) and new.written is not None:
                    error.details = {**error.details, "backup": new.written}
                await self._undo_for(app, work.hooks, error)
                raise
            rolled = await self._settle(work, watching, containers, new.old, before, made=True)
            return replace(rolled, backup=new.backup)

    async def _resume(self, work: _Work, reactivation: StandbyReactivation) -> RolloutResult:
        """Start the containers in standby again, and let them take over."""
        app = work.app
        before = RolloutState(app).read_serving()
        async with self._engine.watch_containers(app.name) as watching:
            try:
                containers = await reactivation.bring_up(watching, work.timeout, work.progress)
                await reactivation.take_over(containers)
            except BaseException as error:
                await self._undo_for(app, work.hooks, error)
                raise
            return await self._settle(work, watching, containers, reactivation.newer, before)

    async def _settle(
        self,
        work: _Work,
        watching: DowntimeWatch,
        containers: Sequence[Container],
        old: Sequence[Container],
        before: Serving | None,
        *,
        made: bool = False,
    ) -> RolloutResult:
        """Do what follows once others serve. Where Docker is away or busy, that is done later, and nothing failed.

        Args:
            made: whether the containers are new, and not those of standby.
        """
        drained, rest, now = 0, "", containers
        same = before is not None and before.release == work.target.release
        try:
            anonymous_volumes.note(work.app, await anonymous_volumes.map_held(self._engine, [*old, *containers]))
            async with self._end_alongside(work, ends=made and not same):  # else what is watched is the same release
                drained = await work.hooks.drain()
            checkpoint("drained")
            # Containers of the same release are nothing to go back to.
            await self._retire(work.app, work.hooks, old, before, watch=0.0 if same else work.target.watch)
            await self._name(work.app, work.target, containers)
            ours = {item.id for item in containers}
            now = [item for item in await self._engine.list_containers(work.app.name) if item.id in ours]
        except EngineUnavailable as error:
            log.warning("%s: what was replaced is removed when Docker answers: %s", work.app.name, error.message)
            rest = _REST
        return RolloutResult(
            services=tuple(dict.fromkeys(item.service for item in containers)),
            replaced=tuple(dict.fromkeys(item.service for item in old)),
            configurations={item.service: item.configuration or "" for item in containers},
            downtime_ms=watching.measure_downtime_ms(now),
            drain_ms=drained,
            rest=rest,
        )

    @asynccontextmanager
    async def _end_alongside(self, work: _Work, *, ends: bool) -> AsyncIterator[None]:
        """Let go of what was kept of the rollout before while the block runs: to remove a network takes Docker long."""
        ending = asyncio.ensure_future(self.end_standby(work.app, work.hooks)) if ends else None
        try:
            yield
        finally:
            if ending is not None:
                await ending

    def is_ending(self, app: App) -> bool:
        """Whether containers that were replaced still have their time to end: that is nothing to hold a lock for."""
        return app in self._ending and not self._ending[app].done()

    async def recover(self, app: App, hooks: SettlingHooks, progress: Progress = ignore_progress) -> str | None:
        """Finish or undo a rollout that was interrupted; what was done, or None where there was nothing to do."""
        await one_off_commands.tidy(self._engine, app)
        if ending := self._ending.pop(app, None):
            if not ending.done():
                progress("waiting for replaced containers to end")
            await ending
        state = RolloutState(app)
        underway, serving = state.read_underway(), state.read_serving()
        if underway is None:
            if standby := state.read_standby():
                await self._engine.stop_containers(standby.containers)
            return None
        if serving is None or serving.rollout != underway.rollout:
            progress(f"undoing the rollout of {underway.release}, which was cut off")
            await self._undo(app, hooks)
            return f"The rollout of {underway.release} was interrupted, and undone."
        progress(f"finishing the rollout of {underway.release}, which was cut off")
        await hooks.restore_switch()
        await hooks.drain()
        old = [
            item
            for item in await self._engine.list_containers(app.name)
            if not underway.brings(item) and item.id not in underway.kept
        ]
        state.end_standby()
        await self._retire(app, hooks, old, None, 0)
        return f"The rollout of {underway.release} was interrupted, and finished."

    async def end_standby(self, app: App, hooks: SettlingHooks) -> None:
        """Let go of what was kept of the rollout before."""
        state = RolloutState(app)
        if (standby := state.read_standby()) is not None:
            await self._remove(app, hooks, standby.containers)
            state.end_standby()

    async def _undo_for(self, app: App, hooks: SettlingHooks, cause: BaseException) -> None:
        """Undo; where the database cannot be taken back, the cause is what its caller is told, and that with it."""
        try:
            await asyncio.shield(self._undo(app, hooks))
        except IkomaError as trouble:
            underway = RolloutState(app).read_underway()
            if not isinstance(cause, IkomaError) or isinstance(trouble, EngineUnavailable):
                raise
            if underway is None or underway.backup is None:
                raise
            hooks.tell_unrestored(cause, underway, trouble)

    async def _undo(self, app: App, hooks: SettlingHooks) -> None:
        """Take away what a rollout has made, stop what it has started again, and start again what it has stopped."""
        state = RolloutState(app)
        if (underway := state.read_underway()) is None:
            return
        containers = await self._engine.list_containers(app.name)
        there = {item.id for item in containers}
        new = [item for item in containers if underway.brings(item) and item.id not in underway.returned]
        await hooks.keep_logs(make_replicas(new))
        made = [item.id for item in new]
        await self._engine.stop_containers([item for item in underway.returned if item in there])
        await self._engine.remove_containers(made, volumes=True)
        if underway.backup is not None:
            await hooks.restore_database(underway.backup)
        await self._engine.start_again([item for item in underway.stopped if item in there])
        await hooks.refresh_route()
        await self._tidy_networks(app)
        state.finish()
        await hooks.restore_route()

    async def _retire(
        self, app: App, hooks: SettlingHooks, old: Sequence[Container], before: Serving | None, watch: float
    ) -> None:
        """Stop what was replaced; it is removed then, or kept stopped while the new release is watched."""
        state = RolloutState(app)
        identities = tuple(item.id for item in old)
        if watch and before is not None and _can_return(app, before.release, old):
            kept = underway.kept if (underway := state.read_underway()) else ()
            done = tuple(item.id for item in old if item.is_done)
            state.write(Standby(before.release, before.rollout, identities, time.time() + watch, kept, done))
            state.finish()
            await self._wait_briefly(app, self._engine.stop_containers(identities))
        else:
            await self._wait_briefly(app, self._remove(app, hooks, identities, stop=True))
        checkpoint("retired")

    async def _name(self, app: App, target: RolloutTarget, containers: Sequence[Container]) -> None:
        """Give containers the names that the file chooses; one in standby that has such a name gets another."""
        chosen = {
            name: service.container_name for name, service in target.model.services.items() if service.container_name
        }
        holders = {item.name: item for item in await self._engine.list_containers(app.name)}
        for item in containers:
            name = chosen.get(item.service)
            if name is None or ((holder := holders.get(name)) is not None and holder.id == item.id):
                continue
            try:
                if holder is not None:
                    await self._engine.rename(holder.id, f"{name}-{holder.rollout or 'before'}")
                await self._engine.rename(item.id, name)
            except IkomaError as error:  # it serves, whatever it is called
                log.warning("%s: a container of %s cannot be named %s: %s", app.name, item.service, name, error.message)

    async def _wait_briefly(self, app: App, work: Coroutine[Any, Any, None]) -> None:
        """Wait for work, but not for long: what is not done by then goes on, and the next rollout waits for it."""
        task = self._ending[app] = asyncio.ensure_future(work)
        await asyncio.wait([task], timeout=_STOP_PATIENCE)
        if task.done():
            self._ending.pop(app, None)
            task.result()

    async def _remove(self, app: App, hooks: SettlingHooks, identities: Sequence[str], *, stop: bool = False) -> None:
        there = [item for item in await self._engine.list_containers(app.name) if item.id in identities]
        gone = [item.id for item in there]
        if stop:
            await self._engine.stop_containers(gone)
        await hooks.keep_logs(make_replicas(there))
        await self._engine.remove_containers(gone, volumes=False)
        await self._tidy_networks(app)
        if stop:
            RolloutState(app).finish()

    async def _tidy_networks(self, app: App) -> None:
        """Remove networks that no container is left of that they were made with, and take kept ones out of them."""
        containers = await self._engine.list_containers(app.name)
        for name in await self._engine.list_networks(app.name):
            made_by, inside = parse_rollout(name), [item for item in containers if name in item.networks]
            if any(item.rollout == made_by for item in inside) if made_by else (inside or not is_of_subnets(name)):
                continue
            for item in inside:
                await self._engine.disconnect(name, item.id)
            await self._engine.remove_network(name)


def _can_return(app: App, release: str, containers: Sequence[Container]) -> bool:
    """Whether containers as they were when others took over are worth going back to: nobody is led to broken ones."""
    lasting = [item for item in containers if not item.one_shot and not item.is_done]
    for item in lasting:
        if item.state != "running" or item.health == "unhealthy":
            how = item.health if item.state == "running" else item.state
            log.warning("%s: nothing of %s is in standby: its %s was %s", app.name, release, item.service, how)
            return False
    return bool(lasting) and all(item.rollout for item in lasting)
