"""The successor of what serves: its containers are made, brought up one after the other, and given the requests."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseChange
from ikoma.apps.releases.rollout_state import RolloutState, Serving, Underway, parse_rollout
from ikoma.apps.rollouts import one_off_commands
from ikoma.apps.rollouts.drift import require_alike, with_existing
from ikoma.apps.rollouts.new_folders import forget_list, hand_over
from ikoma.apps.rollouts.rendering import Placement, render
from ikoma.apps.routing.probe import find_other_ports
from ikoma.apps.routing.routes import Routes
from ikoma.apps.strategy.decision import Decision, Wanted, decide, is_active
from ikoma.compose.compose_file import Web, encoded
from ikoma.compose.model import EMPTY, SHARED_NAMESPACES, ComposeModel
from ikoma.compose.release_command import ReleaseCommand, needed_by
from ikoma.compose.web_service import web
from ikoma.compose.x_ikoma import Extension
from ikoma.durable import write_file
from ikoma.errors import DeployFailed, IkomaError, Next
from ikoma.model import Secret
from ikoma.ports.engine import AnonymousVolume, Container, ContainerWatch, Engine, ServiceStart
from ikoma.ports.progress import Progress, ignore_progress

log = logging.getLogger("ikoma")


@dataclass(frozen=True, slots=True)
class Target:
    """The release to run, whose model was checked.

    Args:
        model: what was checked, with all that containers get.
        files: the release's folder, where its compose file goes.
        check: refuses mounts, as they are made, that a container could change.
        answers: waits until these containers answer HTTP, where the app does; raises where they don't.
        change: what is done with the database, immediately before the new containers start.
        again: replace also what would not need to be.
        watch: for how many seconds what is replaced is kept in standby.
        scale: how many containers a service is to have, where that differs from what the model says.
        before: the model of what serves; empty where nothing does.
    """

    release: str
    model: ComposeModel
    place: Placement
    extension: Extension
    web: Web | None
    files: Path
    answers: Callable[[Sequence[Container]], Awaitable[None]]
    check: Callable[[ComposeModel], Awaitable[None]]
    change: DatabaseChange | None = None
    again: bool = False
    watch: float = 0.0
    scale: Mapping[str, int] = field(default_factory=dict)
    before: ComposeModel = EMPTY

    @property
    def answering(self) -> frozenset[str]:
        """Services whose containers have requests to wait for: the one that answers now, and the one that will."""
        if self.web is None:
            return frozenset()
        now = web(self.before)
        return frozenset((self.web.service, now.service if now else self.web.service))

    @property
    def compose_file(self) -> Path:
        """All that runs."""
        return self.files / "compose.json"

    def of_web(self, containers: Sequence[Container]) -> list[Container]:
        """Select the containers of the service that answers HTTP; none where no service does."""
        return [item for item in containers if self.web is not None and item.service == self.web.service]

    @property
    def creation_file(self) -> Path:
        """The file that Compose makes containers of."""
        return self.files / "create.json"


def reached(step: str) -> None:
    """Called at each step of a rollout, so that tests can end the process there."""
    log.debug("rollout: %s", step)


class Successor:
    """One rollout, up to the moment when it serves.

    Args:
        there: the containers of what serves now.
        carried: service → volumes without a name that its data is in.
        beside: of each service, how many there are besides: in standby.
    """

    def __init__(
        self,
        engine: Engine,
        traffic: Routes,
        app: App,
        target: Target,
        rollout: str,
        there: Sequence[Container],
        carried: Mapping[str, Sequence[AnonymousVolume]],
        beside: Mapping[str, int],
    ) -> None:
        self._engine = engine
        self._traffic = traffic
        self._app = app
        self._target = target
        self._there = there
        self._beside = beside
        self._state = RolloutState(app)
        self.rollout = rollout
        configurations = target.place.configurations(target.model)
        self.decisions = decide(
            Wanted(
                app=app,
                model=target.model,
                extension=target.extension,
                sources=target.place.sources,
                configurations=configurations,
                scale=target.scale,
                before=target.before,
                carrying=frozenset(item.id for item in there if item.service in carried),
                again=target.again or (target.change is not None and target.change.stops_first),
            ),
            there,
        )
        self._rendered = render(
            target.model, target.place, rollout=rollout, configurations=configurations, carried=carried
        )
        self._new: list[Container] = []
        self._stopped: list[str] = []
        self.written: str | None = None
        """The backup that was made before the database was changed."""
        self.backup: str | None = None
        """The same, as long as there is something to take back."""

    @property
    def kept(self) -> list[Container]:
        return [item for decision in self.decisions for item in decision.kept]

    @property
    def old(self) -> list[Container]:
        return [item for decision in self.decisions for item in decision.replaced]

    @property
    def ours(self) -> set[str]:
        """Ids of the containers that serve once this has taken over."""
        return {item.id for item in (*self.kept, *self._new)}

    async def rehearse(self, progress: Progress) -> None:
        """See, before anything is made or stopped, that the database can be changed and taken back."""
        if (change := self._target.change) is None:
            return
        if (command := change.command) is not None:
            those = (item for item in self.decisions if item.service == command.service)
            if not any(item.new or item.kept for item in those):
                one = {"service": command.service, "replicas": 1}
                raise DeployFailed(
                    f"The release command runs like a container of {command.service}, and that is to have none.",
                    hint=f"Give it one: deploy.scale {orjson.dumps(one).decode()}.",
                    next=Next("deploy.scale", {"appName": str(self._app.name), **one}),
                )
        await change.rehearse(progress)

    async def make_containers(self, progress: Progress, secrets: Sequence[Secret]) -> None:
        """Make the new containers beside the old ones."""
        require_alike(self._app.name, self._target.model, await self._engine.list_resources())
        await self._target.check(self._rendered.model)
        self._note()
        write_file(self._target.compose_file, encoded(self._rendered.model.raw), mode=0o600)
        for path, given in self._rendered.files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_file(path, given.content, mode=given.mode)
            if os.geteuid() == 0:
                os.chown(path, *given.owner)
        reached("noted")
        services = self._target.model.services
        making = {decision.service for decision in self.decisions if decision.new}
        if not making:
            return
        making |= {other for name in making for other in services[name].mounts_from}
        scale = {
            decision.service: len(decision.kept)
            + len(decision.replaced)
            + decision.new
            + self._beside.get(decision.service, 0)
            for decision in self.decisions
            if decision.service in making
        }
        # What runs in another service's namespace is made when that one is there, and told which container it is.
        dependent = {name: shared for name in scale if (shared := services[name].shares_with)}
        first = {name: number for name, number in scale.items() if name not in dependent}
        await self._create(self._rendered.model, first, progress, secrets)
        if dependent:
            await self._create(self._told(dependent), {name: scale[name] for name in dependent}, progress, secrets)
        reached("created")
        await self._hand_over()
        made = {network for name in scale for network in self._rendered.joined[name]} & self._rendered.networks
        for item in self.kept:
            for network, aliases in self._rendered.joined.get(item.service, {}).items():
                if network in made:
                    await self._engine.connect(network, item.id, aliases)
        reached("connected")

    async def _hand_over(self) -> None:
        """Let the new containers write what is new: it belongs to whom they run as."""
        for item in self._new:
            owner = await self._engine.find_user(item.id)
            if owner is not None and owner.uid != 0:
                await self._engine.own_volumes(item.id, owner)
                hand_over(self._app, self._rendered.model.services[item.service].mounts, owner)
        forget_list(self._app)
        reached("handed over")

    async def bring_up(
        self, watching: ContainerWatch, timeout: float, progress: Progress, secrets: Sequence[Secret]
    ) -> None:
        """Start the new containers, in order, and see them healthy and answering."""
        if self._target.change is not None:
            await self._change_database(self._target.change, progress)
        starts = [self._start(decision) for decision in self.decisions if decision.new]
        kept = [item.id for item in self.kept]

        async def bring_up(what: Sequence[ServiceStart]) -> Sequence[Container]:
            try:
                up = await self._engine.bring_up(
                    self._app.name,
                    what,
                    kept=kept,
                    watching=watching,
                    timeout=timeout,
                    progress=progress,
                    secrets=secrets,
                )
            except DeployFailed as error:
                await self._tell_ports(error)
                raise
            kept.extend(identity for start in what for identity in start.containers)
            return up

        if self._target.change is not None and (command := self._target.change.command) is not None:
            needs = {name: service.depends_on for name, service in self._target.model.services.items()}
            needed = needed_by(command.service, needs)
            first = [start for start in starts if start.service in needed]
            if first:
                await bring_up(first)
            starts = [start for start in starts if start not in first]
            await self._run_command(self._target.change, command, progress, secrets)
        up = await bring_up(starts)
        reached("healthy")
        self._new = [item for item in up if item.rollout == self.rollout]
        if self._target.web is not None:
            wanted = self._target.web.path or f"port {self._target.web.port}"
            progress(f"{self._target.web.service}: waiting for {wanted}")
        await self._target.answers(self._target.of_web(up))
        reached("answering")

    async def _tell_ports(self, error: DeployFailed) -> None:
        """Where the web service is not healthy: say where it listens, if that is not where requests go."""
        web, ours = self._target.web, {item.id for item in self._new}
        if web is None or error.details.get("service") != web.service or error.details.get("state") != "running":
            return
        there = [item for item in await self._engine.list_containers(self._app.name) if item.id in ours]
        if said := await find_other_ports(self._engine, web, there):
            error.add(said)

    async def _change_database(self, change: DatabaseChange, progress: Progress) -> None:
        """Back the database up and change it; first stop what could not run with it, or would write what is lost."""
        if change.stops_first:
            await self._stop(self.old, progress)
        self.written = self.backup = await change.back_up(progress)
        if change.stops_first:
            self._note()
        reached("backed up")
        try:
            await change.apply(progress)
        except IkomaError:
            if change.is_untouched and self.backup is not None:  # then nothing is taken back either
                self.backup = None
                self._note()
            raise
        reached("migrated")

    async def _run_command(
        self, change: DatabaseChange, command: ReleaseCommand, progress: Progress, secrets: Sequence[Secret]
    ) -> None:
        """Run the release command on the code of the new release; DeployFailed where it does not end well."""
        name, output = command.service, one_off_commands.Output()
        [like, *_] = [item.id for item in (*self._new, *self.kept) if item.service == name]
        progress(f"release command of {name}")
        await change.enter_command()
        try:
            code = await one_off_commands.run(
                self._engine,
                self._app,
                like,
                name,
                command.command,
                timeout=command.timeout,
                progress=progress,
                secrets=secrets,
                output=output,
            )
        finally:
            change.keep_output(output.lines)
        if code != 0:
            lines = output.lines[-20:]
            raise DeployFailed(
                f"The release command of {name} ended with code {code}.", service=name, exitCode=code, logs=lines
            )
        reached("commanded")

    async def take_over(self, containers: Sequence[Container]) -> None:
        """From here on this is what serves."""
        await self._route()
        self._state.write(Serving(self._target.release, self.rollout, time.time()))
        reached("recorded")
        self._traffic.switch(self._app, self._target.web, self._target.of_web(containers))
        reached("switched")

    async def _route(self) -> None:
        """Let the app have the route that this wants. Requests that wait for a container would be lost by a new one."""
        web = self._target.web
        coming = sum(
            len(item.kept) + item.new for item in self.decisions if web is not None and item.service == web.service
        )
        # Slots that are not needed any more stay until the requests that they have are finished, and the routes change.
        slots = max(coming, len(self._target.of_web(self._there)))
        await self._traffic.set_route(self._app, web, self._target.extension, slots)

    def _note(self) -> None:
        """Write down what is under way: who stays, and who was stopped."""
        kept = tuple(item.id for item in self.kept)
        change = self._target.change
        # What serves goes on writing beside a change that it can run with: restoring would lose that.
        restored_from = self.backup if change is not None and change.stops_first else None
        self._state.write(
            Underway(self._target.release, self.rollout, kept, tuple(self._stopped), backup=restored_from)
        )

    async def _create(
        self, what: ComposeModel, scale: Mapping[str, int], progress: Progress, secrets: Sequence[Secret]
    ) -> None:
        only = {name: {**what.services[name].raw, "depends_on": {}} for name in what.services if name in scale}
        file = with_existing({**what.top, "services": only}, await self._engine.list_resources())
        write_file(self._target.creation_file, encoded(file), mode=0o600)
        self._new += await self._engine.create(
            self._app.name, self._target.creation_file, scale=scale, progress=progress, secrets=secrets
        )

    def _told(self, dependent: Mapping[str, str]) -> ComposeModel:
        """The compose file with services that others are made with named by the containers that they have."""
        model = self._rendered.model
        hosts = {item.service: item.id for item in (*self.kept, *self._new) if item.service not in dependent}
        return model.with_services({name: told(model.services[name].raw, hosts) for name in dependent})

    def _start(self, decision: Decision) -> ServiceStart:
        new = tuple(item.id for item in self._new if item.service == decision.service)
        first = partial(self._make_room, decision) if decision.first else None
        return ServiceStart(
            decision.service, new, dict(self._target.model.services[decision.service].depends_on), first
        )

    async def _make_room(self, decision: Decision) -> None:
        """Stop what cannot run beside the new containers; those join the networks that their own ones leave."""
        running = [item for item in decision.first if item.id not in self._stopped]
        await self._stop(running)
        reached(f"stopped {decision.service}")
        left = {network for item in running if item.service == decision.service for network in item.networks}
        left = {network for network in left if parse_rollout(network)}
        for new in self._new:
            if new.service == decision.service:
                for network in left:
                    await self._engine.connect(network, new.id, self._aliases(decision.service))

    async def _stop(self, containers: Sequence[Container], progress: Progress = ignore_progress) -> None:
        """Stop containers that serve now; requests that they would answer wait meanwhile."""
        running = [item for item in containers if is_active(item)]
        answers = any(item.service in self._target.answering for item in running)
        if answers:
            await self._route()
        self._stopped += [item.id for item in running]
        self._note()
        if answers:
            await self._traffic.pause(self._app, self._target.extension.drain)
        for item in running:
            progress(f"stopping {item.service}")
        await self._engine.stop_containers([item.id for item in running])

    def _aliases(self, service: str) -> list[str]:
        return list(dict.fromkeys(alias for names in self._rendered.joined[service].values() for alias in names))


def told(service: Mapping[str, Any], hosts: Mapping[str, str]) -> dict[str, Any]:
    """A service as its container is made beside others that are there.

    Args:
        hosts: service → id of its container.
    """
    named = {f"service:{name}": f"container:{identity}" for name, identity in hosts.items()}
    result = {
        key: named.get(str(value), value) if key in SHARED_NAMESPACES else value for key, value in service.items()
    }
    if taken := result.get("volumes_from"):
        found = [(item, *str(item).partition(":")) for item in taken]
        result["volumes_from"] = [
            f"container:{hosts[name]}{colon}{mode}" if name in hosts else item for item, name, colon, mode in found
        ]
    return result
