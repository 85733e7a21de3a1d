"""The return of the rollout before: its containers, kept in standby, are started again and given the requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

from ikoma.app_folder import App
from ikoma.apps.releases.rollout_state import RolloutState, Serving, Standby, Underway
from ikoma.apps.rollouts.new_rollout import Target, reached
from ikoma.apps.routing.routes import Routes
from ikoma.apps.strategy.decision import is_active, why_alone
from ikoma.apps.strategy.exclusive_resources import find_preempted
from ikoma.compose.services import in_order
from ikoma.model import Secret
from ikoma.ports.engine import Container, ContainerWatch, Engine, ServiceStart
from ikoma.ports.progress import Progress


class Returning:
    """One return, up to the moment when the earlier containers serve.

    Args:
        there: all containers of the app.
    """

    def __init__(
        self, engine: Engine, traffic: Routes, app: App, target: Target, standby: Standby, there: Sequence[Container]
    ) -> None:
        self._engine = engine
        self._traffic = traffic
        self._app = app
        self._target = target
        self._standby = standby
        self._state = RolloutState(app)
        self._earlier = [item for item in there if item.id in standby.containers]
        self._kept = [item for item in there if item.id in standby.kept]
        self.newer = [item for item in there if item not in self._earlier and item not in self._kept]
        self._stopped: list[str] = []

    @property
    def is_whole(self) -> bool:
        """Whether all is there that served then, and is enough: a container may be gone or the scale another."""
        there = Counter(item.service for item in (*self._earlier, *self._kept))
        services, chosen = self._target.model.services, self._target.scale
        enough = all(there[name] == chosen.get(name, service.scale) for name, service in services.items())
        return enough and there.total() == len(self._standby.containers) + len(self._standby.kept)

    async def bring_up(
        self, watching: ContainerWatch, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> list[Container]:
        """Start the earlier containers and see them healthy and answering; these and the kept ones."""
        self._note()
        reached("noted")
        lasting = [item for item in self._earlier if not item.one_shot and item.id not in self._standby.done]
        coming = {item.service for item in lasting}
        starts = [self._start(name, lasting) for name in in_order(self._target.model.services) if name in coming]
        await self._engine.bring_up(
            self._app.name,
            starts,
            kept=[item.id for item in self._kept],
            watching=watching,
            timeout=timeout,
            progress=progress,
            secrets=secrets,
        )
        ours = {item.id for item in (*lasting, *self._kept)}
        containers = [item for item in await self._engine.list_containers(self._app.name) if item.id in ours]
        await self._target.answers(self._target.of_web(containers))
        reached("answering")
        return containers

    async def take_over(self, containers: Sequence[Container]) -> None:
        """From here on the earlier containers are what serves."""
        web = self._target.of_web(containers)
        await self._route(containers)
        self._state.write(Serving(self._standby.release, self._standby.rollout, time.time()))
        self._state.end_standby()
        reached("recorded")
        self._traffic.switch(self._app, self._target.web, web)
        reached("switched")

    async def _route(self, containers: Sequence[Container]) -> None:
        web = self._target.web
        slots = len(self._target.of_web(containers))
        await self._traffic.set_route(self._app, web, self._target.extension, slots)

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
        wish, source = self._target.extension.strategy_of(service), self._target.place.sources
        away = set(find_preempted(self._app, self._target.before, self._target.model, service, source, wish))
        alone = why_alone(self._app, self._target.model, service, source, wish, self._target.before)
        away |= {service} if alone else set()
        return ServiceStart(service, containers, after, partial(self._make_room, away) if away else None)

    async def _make_room(self, services: Collection[str]) -> None:
        """Stop the newer containers of these services: they cannot run beside an earlier one that starts."""
        running = [item for item in self.newer if item.service in services and is_active(item)]
        running = [item for item in running if item.id not in self._stopped]
        answers = any(item.service in self._target.answering for item in running)
        if answers:  # a new route would lose requests that wait for a container
            await self._route(self._earlier)
        self._stopped += [item.id for item in running]
        self._note()
        if answers:
            await self._traffic.pause(self._app, self._target.extension.drain)
        await self._engine.stop_containers([item.id for item in running])
