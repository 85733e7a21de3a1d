"""The return of the rollout before: its containers, kept in standby, are started again and given the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

from ikoma.app_folder import App
from ikoma.checkpoints import checkpoint
from ikoma.compose.exclusive_resources import find_preempted
from ikoma.compose.services import sort_by_need
from ikoma.compose.single import explain_alone
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.replicas import make_replicas
from ikoma.engines.compose.rollout.new_rollout import find_answering, select_of_web
from ikoma.engines.compose.startup import ServiceStart
from ikoma.engines.docker.containers import Container
from ikoma.ports.progress import Progress
from ikoma.ports.rollout import RolloutHooks, RolloutTarget
from ikoma.rollout_state import RolloutState, Standby, Underway


def is_whole(standby: Standby, target: RolloutTarget, there: Sequence[Container]) -> bool:
    """Whether all is there that served then, and is enough: a container may be gone or the scale another."""
    found = Counter(item.service for item in there if item.id in (*standby.containers, *standby.kept))
    services, chosen = target.model.services, target.scale
    enough = all(found[name] == chosen.get(name, service.scale) for name, service in services.items())
    return enough and found.total() == len(standby.containers) + len(standby.kept)


class StandbyReactivation:
    """One return, up to the moment when the earlier containers serve.

    Args:
        there: all containers of the app.
    """

    def __init__(
        self,
        engine: ComposeEngine,
        hooks: RolloutHooks,
        app: App,
        target: RolloutTarget,
        standby: Standby,
        there: Sequence[Container],
    ) -> None:
        self._engine = engine
        self._hooks = hooks
        self._app = app
        self._target = target
        self._standby = standby
        self._state = RolloutState(app)
        self._earlier = [item for item in there if item.id in standby.containers]
        self._kept = [item for item in there if item.id in standby.kept]
        self.newer = [item for item in there if item not in self._earlier and item not in self._kept]
        self._stopped: list[str] = []

    async def bring_up(self, watching: DowntimeWatch, timeout: float, progress: Progress) -> list[Container]:
        """Start the earlier containers and see them healthy and answering; these and the kept ones."""
        self._note()
        checkpoint("noted")
        lasting = [item for item in self._earlier if not item.one_shot and item.id not in self._standby.done]
        coming = {item.service for item in lasting}
        starts = [self._start(name, lasting) for name in sort_by_need(self._target.model.services) if name in coming]
        await self._engine.bring_up(
            self._app.name,
            starts,
            kept=[item.id for item in self._kept],
            watching=watching,
            timeout=timeout,
            progress=progress,
        )
        ours = {item.id for item in (*lasting, *self._kept)}
        containers = [item for item in await self._engine.list_containers(self._app.name) if item.id in ours]
        await self._hooks.wait_for_answers(make_replicas(select_of_web(self._target, containers)))
        checkpoint("answering")
        return containers

    async def take_over(self, containers: Sequence[Container]) -> None:
        """From here on the earlier containers are what serves."""
        await self._set_route(containers)
        self._hooks.serve(self._standby.rollout)
        self._state.end_standby()
        checkpoint("recorded")
        self._hooks.switch(make_replicas(select_of_web(self._target, containers)))
        checkpoint("switched")

    async def _set_route(self, containers: Sequence[Container]) -> None:
        await self._hooks.set_route(len(select_of_web(self._target, containers)))

    def _note(self) -> None:
        kept = tuple(item.id for item in self._kept)
        returned = tuple(item.id for item in self._earlier)
        stopped = tuple(self._stopped)
        self._state.write(Underway(self._standby.release, self._standby.rollout, kept, stopped, returned))

    def _start(self, service: str, lasting: Sequence[Container]) -> ServiceStart:
        containers = tuple(item.id for item in lasting if item.service == service)
        described = self._target.model.services.get(service)
        present = {item.service for item in (*lasting, *self._kept)}
        needs = described.depends_on if described else {}
        if described and described.shares_with:
            needs = {described.shares_with: "service_started", **needs}
        after = {
            name: condition
            for name, condition in needs.items()
            if name in present and condition != "service_completed_successfully"
        }
        strategy, source = self._target.extension.find_strategy(service), self._target.parts.sources
        away = set(find_preempted(self._app, self._target.before, self._target.model, service, source, strategy))
        alone = explain_alone(self._app, self._target.model, service, source, strategy, self._target.before)
        away |= {service} if alone else set()
        return ServiceStart(service, containers, after, partial(self._make_room, away) if away else None)

    async def _make_room(self, services: Collection[str]) -> None:
        """Stop the newer containers of these services: they cannot run beside an earlier one that starts."""
        running = [item for item in self.newer if item.service in services and item.is_active]
        running = [item for item in running if item.id not in self._stopped]
        answers = any(item.service in find_answering(self._target) for item in running)
        if answers:  # a new route would lose requests that wait for a container
            await self._set_route(self._earlier)
        self._stopped += [item.id for item in running]
        self._note()
        if answers:
            await self._hooks.pause()
        await self._engine.stop_containers([item.id for item in running])
