"""The successor of what serves: its containers are made, brought up one after the other, and given the requests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.checkpoints import checkpoint
from ikoma.compose.compose_file import encode
from ikoma.compose.model import SHARED_NAMESPACES, ComposeModel
from ikoma.compose.new_folders import forget_list, hand_over
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.compose.roles.release_command import ReleaseCommand, list_needed
from ikoma.compose.web_service import find_web
from ikoma.durable import write_file
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.replicas import make_replicas
from ikoma.engines.compose.rollout import one_off_commands
from ikoma.engines.compose.rollout.decision import ServiceDecision, list_decisions
from ikoma.engines.compose.rollout.drift import add_existing, require_alike
from ikoma.engines.compose.rollout.rendering import render
from ikoma.engines.compose.startup import ServiceStart
from ikoma.engines.docker.containers import AnonymousVolume, Container, ResourceInventory
from ikoma.errors import DeployFailed, IkomaError, Next
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.rollout import CommandOutput, DatabaseChange, RolloutHooks, RolloutPlan, RolloutTarget
from ikoma.rollout_state import RolloutState, Underway, parse_rollout


def select_of_web(target: RolloutTarget, containers: Sequence[Container]) -> list[Container]:
    """Select the containers of the service that answers HTTP; none where no service does."""
    return [item for item in containers if target.web is not None and item.service == target.web.service]


def find_answering(target: RolloutTarget) -> frozenset[str]:
    """Services whose containers have requests to wait for: the one that answers now, and the one that will."""
    if target.web is None:
        return frozenset()
    now = find_web(target.before)
    return frozenset((target.web.service, now.service if now else target.web.service))


class NewRollout:
    """One rollout, up to the moment when it serves.

    Args:
        hooks: what the app does at each moment.
        plan: what becomes of each service, and of the database.
        there: the containers of what serves now.
        anonymous: service → anonymous volumes with its data.
        beside: of each service, how many there are besides: in standby.
    """

    def __init__(
        self,
        engine: ComposeEngine,
        hooks: RolloutHooks,
        app: App,
        target: RolloutTarget,
        rollout: str,
        plan: RolloutPlan,
        there: Sequence[Container],
        anonymous: Mapping[str, Sequence[AnonymousVolume]],
        beside: Mapping[str, int],
    ) -> None:
        self._engine = engine
        self._hooks = hooks
        self._app = app
        self._target = target
        self._plan = plan
        self._there = there
        self._beside = beside
        self._state = RolloutState(app)
        self.rollout = rollout
        self.decisions = list_decisions(plan, there)
        self._folder = ReleaseFolder.locate(app, target.release, target.parts.sources)
        self._rendered = render(target.model, self._folder, target.parts, rollout=rollout, anonymous=anonymous)
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
        if (change := self._hooks.change) is None:
            return
        if (command := self._plan.command) is not None:
            those = (item for item in self.decisions if item.service == command.service)
            if not any(item.new or item.kept for item in those):
                one = {"service": command.service, "replicas": 1}
                raise DeployFailed(
                    f"The release command runs like a container of {command.service}, and that is to have none.",
                    hint=f"Give it one: deploy.scale {orjson.dumps(one).decode()}.",
                    next=Next("deploy.scale", {"appName": str(self._app.name), **one}),
                )
        await change.rehearse(progress)

    async def make_containers(self, progress: Progress) -> None:
        """Make the new containers beside the old ones."""
        await self._hooks.check(self._rendered.model)
        there = await self._engine.list_resources()
        require_alike(self._app.name, self._target.model, there)
        self._note()
        write_file(self._folder.compose_file, encode(self._rendered.model.raw), mode=0o600)
        for path, given in self._rendered.files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_file(path, given.content, mode=given.mode)
            if os.geteuid() == 0:
                os.chown(path, *given.owner)
        checkpoint("noted")
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
        await self._create(self._rendered.model, first, there, progress)
        if dependent:
            scale_of = {name: scale[name] for name in dependent}
            there = await self._engine.list_resources()  # now with what those before them have made
            await self._create(self._name_hosts(dependent), scale_of, there, progress)
        checkpoint("created")
        await self._hand_over()
        made = {network for name in scale for network in self._rendered.joined[name]} & self._rendered.networks
        for item in self.kept:
            for network, aliases in self._rendered.joined.get(item.service, {}).items():
                if network in made:
                    await self._engine.connect(network, item.id, aliases)
        checkpoint("connected")

    async def _hand_over(self) -> None:
        """Let the new containers write what is new: it belongs to whom they run as."""
        for item in self._new:
            owner = await self._engine.find_writer(item.id)
            if owner is not None and owner.uid != 0:
                await self._engine.give_volumes(item.id, owner)
                hand_over(self._app, self._rendered.model.services[item.service].mounts, owner.uid, owner.gid)
        forget_list(self._app)
        checkpoint("handed over")

    async def bring_up(self, watching: DowntimeWatch, timeout: float, progress: Progress) -> None:
        """Start the new containers, in order, and see them healthy and answering."""
        if (change := self._hooks.change) is not None:
            await self._change_database(change, progress)
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
                )
            except DeployFailed as error:
                await self._tell_ports(error, watching)
                raise
            kept.extend(identity for start in what for identity in start.containers)
            return up

        if change is not None and (command := self._plan.command) is not None:
            needs = {name: service.depends_on for name, service in self._target.model.services.items()}
            needed = list_needed(command.service, needs)
            first = [start for start in starts if start.service in needed]
            if first:
                await bring_up(first)
            starts = [start for start in starts if start not in first]
            await self._run_command(change, command, progress)
        up = await bring_up(starts)
        checkpoint("healthy")
        self._new = [item for item in up if item.rollout == self.rollout]
        if self._target.web is not None:
            wanted = self._target.web.path or f"port {self._target.web.port}"
            progress(f"{self._target.web.service}: waiting for {wanted}")
        await self._hooks.wait_for_answers(make_replicas(select_of_web(self._target, up)))
        checkpoint("answering")

    async def _tell_ports(self, error: DeployFailed, watching: DowntimeWatch) -> None:
        """Say where an unhealthy web service listens, if that is not where requests go.

        One that keeps exiting listens nowhere, and that is not what is wrong with it.
        """
        web, ours = self._target.web, {item.id for item in self._new} - watching.crashing
        if web is None or error.details.get("service") != web.service or error.details.get("state") != "running":
            return
        there = [item for item in await self._engine.list_containers(self._app.name) if item.id in ours]
        if said := await self._hooks.explain_silence(make_replicas(there)):
            error.add(said)

    async def _change_database(self, change: DatabaseChange, progress: Progress) -> None:
        """Back the database up and change it; first stop what could not run with it, or would write what is lost."""
        if self._plan.stops_first:
            await self._stop(self.old, progress)
        self.written = self.backup = await change.back_up(progress)
        if self._plan.stops_first:
            self._note()
        checkpoint("backed up")
        try:
            await change.apply(progress)
        except IkomaError:
            if change.is_untouched and self.backup is not None:  # then nothing is taken back either
                self.backup = None
                self._note()
            raise
        checkpoint("migrated")

    async def _run_command(self, change: DatabaseChange, command: ReleaseCommand, progress: Progress) -> None:
        """Run the release command on the code of the new release; DeployFailed where it does not end well."""
        name, output = command.service, CommandOutput()
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
                output=output,
            )
        finally:
            change.keep_output(output.lines)
        if code != 0:
            lines = output.lines[-20:]
            raise DeployFailed(
                f"The release command of {name} ended with code {code}.", service=name, exitCode=code, logs=lines
            )
        checkpoint("commanded")

    async def take_over(self, containers: Sequence[Container]) -> None:
        """From here on this is what serves."""
        await self._set_route()
        self._hooks.serve(self.rollout)
        checkpoint("recorded")
        self._hooks.switch(make_replicas(select_of_web(self._target, containers)))
        checkpoint("switched")

    async def _set_route(self) -> None:
        """Let the app have the route that this wants. Requests that wait for a container would be lost by a new one."""
        web = self._target.web
        coming = sum(
            len(item.kept) + item.new for item in self.decisions if web is not None and item.service == web.service
        )
        # Upstreams that are not needed any more stay until their requests are finished, and the routes change.
        replicas = max(coming, len(select_of_web(self._target, self._there)))
        await self._hooks.set_route(replicas)

    def _note(self) -> None:
        """Write down what is under way: who stays, and who was stopped."""
        kept = tuple(item.id for item in self.kept)
        # What serves goes on writing beside a change that it can run with: restoring would lose that.
        restored_from = self.backup if self._plan.stops_first else None
        self._state.write(
            Underway(self._target.release, self.rollout, kept, tuple(self._stopped), backup=restored_from)
        )

    async def _create(
        self,
        what: ComposeModel,
        scale: Mapping[str, int],
        there: ResourceInventory,
        progress: Progress,
    ) -> None:
        only = {name: {**what.services[name].raw, "depends_on": {}} for name in what.services if name in scale}
        file = add_existing({**what.top, "services": only}, there)
        creation_file = self._folder.path / "create.json"
        write_file(creation_file, encode(file), mode=0o600)
        self._new += await self._engine.create(self._app.name, creation_file, scale=scale, progress=progress)

    def _name_hosts(self, dependent: Mapping[str, str]) -> ComposeModel:
        """The compose file with services that others are made with named by the containers that they have."""
        model = self._rendered.model
        hosts = {item.service: item.id for item in (*self.kept, *self._new) if item.service not in dependent}
        return model.replace_services({name: name_containers(model.services[name].raw, hosts) for name in dependent})

    def _start(self, decision: ServiceDecision) -> ServiceStart:
        new = tuple(item.id for item in self._new if item.service == decision.service)
        first = partial(self._make_room, decision) if decision.first else None
        return ServiceStart(
            decision.service, new, dict(self._target.model.services[decision.service].depends_on), first
        )

    async def _make_room(self, decision: ServiceDecision) -> None:
        """Stop what cannot run beside the new containers; those join the networks that their own ones leave."""
        running = [item for item in decision.first if item.id not in self._stopped]
        if not running:  # all was stopped before the database was changed
            return
        await self._stop(running)
        checkpoint(f"stopped {decision.service}")
        left = {network for item in running if item.service == decision.service for network in item.networks}
        left = {network for network in left if parse_rollout(network)}
        for new in self._new:
            if new.service == decision.service:
                for network in left:
                    await self._engine.connect(network, new.id, self._list_aliases(decision.service))

    async def _stop(self, containers: Sequence[Container], progress: Progress = ignore_progress) -> None:
        """Stop containers that serve now; requests that they would answer wait meanwhile."""
        running = [item for item in containers if item.is_active]
        answers = any(item.service in find_answering(self._target) for item in running)
        if answers:
            await self._set_route()
        self._stopped += [item.id for item in running]
        self._note()
        if answers:
            await self._hooks.pause()
        for item in running:
            progress(f"stopping {item.service}")
        await self._engine.stop_containers([item.id for item in running])

    def _list_aliases(self, service: str) -> list[str]:
        return list(dict.fromkeys(alias for names in self._rendered.joined[service].values() for alias in names))


def name_containers(service: Mapping[str, Any], hosts: Mapping[str, str]) -> dict[str, Any]:
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
