"""The seam to what runs apps: services and their replicas, images and volumes, in words that any engine can pass.

An app *has* an `AppState` (ports/replicas.py): services and their replicas. A rollout *does* what a `RolloutPlan`
says (ports/rollout.py): `Runtime.plan` makes it, `Runtime.roll` carries it out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.errors import NotImportable
from ikoma.model import AppName
from ikoma.ports.conflicts import TakenName, TakenPort
from ikoma.ports.engine_facts import EngineTraits
from ikoma.ports.images import Images
from ikoma.ports.progress import Progress
from ikoma.ports.projects import ComposeProjects
from ikoma.ports.replicas import AppState, Replica
from ikoma.ports.rollout import CommandOutput, RolloutHooks, RolloutPlan, RolloutResult, RolloutTarget, SettlingHooks
from ikoma.ports.volumes import Volumes

_BY_HAND = "Copy the project's folder into APPS_ROOT, and deploy it as an app."


@dataclass(frozen=True, slots=True)
class EngineVersion:
    version: str
    api: str
    """API version as "1.41"."""
    server_address: str | None
    """The address of this machine at which replicas reach it; None where there is none yet."""


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """The restarts of a replica by the engine itself. Moments are Unix time."""

    restarts: int
    made: float
    started: float
    """When it was started last."""


@dataclass(frozen=True, slots=True)
class ListeningPort:
    """A TCP port that a replica listens on; `is_local` where only what is inside it can reach that."""

    address: str
    port: int
    is_local: bool


@dataclass(frozen=True, slots=True)
class ReplicaUsage:
    """The resources that a running replica takes of its machine. CPU is in percent of one core."""

    cpu_percent: float
    memory_bytes: int
    memory_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """The model that the real Compose parser made of an app's files."""

    model: Mapping[str, Any] | None
    """The canonical model; None when `error` is set."""
    error: str | None
    """Compose's own words when it refused the files."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a replica's output. `at` is when it was written: RFC 3339 in UTC, to the nanosecond."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplicaEvent:
    """Something happened in a project: to this replica, or nobody knows what."""

    project: str
    replica: str | None = None
    happened: str | None = None
    """start, die, stop, oom, destroy or health_status: healthy."""
    exit_code: int | None = None
    """Exit code of one that died."""


OnReplicaEvent = Callable[[ReplicaEvent], None]


class Runtime(Protocol):
    """The place where apps run. Raises EngineUnavailable within 5 s when it is away; a busy one is waited for."""

    async def read_version(self) -> EngineVersion: ...

    async def read_traits(self) -> EngineTraits: ...

    async def resolve(
        self, app: AppName, folder: Path, compose_files: Sequence[str], files: Mapping[str, bytes]
    ) -> Resolved:
        """Parse, merge, interpolate and normalise compose files with the real Compose parser.

        Args:
            folder: the app's folder, which paths in the model are in. Nothing in it is read.
            compose_files: names among `files`, the later over the earlier. Paths in them are relative to the first's
                folder; where both have a .env, what the app's own says counts.
            files: all there is to read: path relative to the folder → content.
        """

    async def observe(self, app: App) -> AppState:
        """Look at an app: all its replicas, running or not, and its records after that."""

    async def plan(self, app: App, target: RolloutTarget) -> RolloutPlan:
        """Plan a rollout as `roll` would carry it out now. Nothing is changed, and nothing of it is secret."""

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
        """Carry a plan out: bring a release up, and let it take over. `recover` comes before the plan.

        Args:
            plan: as `plan` made it for this target, immediately before.
            hooks: what the app does at each moment; `hooks.serve` is the one that counts.
            timeout: seconds until every replica must be healthy.

        Raises:
            DeployFailed: something did not come up; what served before serves, and what is in standby stays so.
        """

    async def recover(self, app: App, hooks: SettlingHooks, progress: Progress) -> str | None:
        """Finish or undo a rollout that was interrupted; what was done, or None where there was nothing to do."""

    def is_ending(self, app: App) -> bool:
        """Whether replicas that were replaced still have their time to end: that is nothing to hold a lock for."""

    async def end_standby(self, app: App, hooks: SettlingHooks) -> None:
        """Let go of what was kept of the rollout before."""

    async def stop(self, app: App, progress: Progress) -> None:
        """Stop the app's replicas and keep them."""

    async def take_down(self, app: App, progress: Progress) -> None:
        """Remove the app's replicas and networks; its volumes stay."""

    async def remove(self, app: App, progress: Progress) -> None:
        """Remove the app's replicas, its networks and all its volumes."""

    async def run_once(
        self,
        app: App,
        like: Replica,
        command: Sequence[str],
        *,
        timeout: float,
        progress: Progress,
        output: CommandOutput,
    ) -> int:
        """Run a command in a replica of its own, made as another one is; its exit code. It is removed at the end.

        Args:
            timeout: seconds, after which it is ended.
            progress: told of each line, as `service | line`.
            output: takes the lines, without secrets of the app.

        Raises:
            CommandNotStarted, CommandTimedOut
        """

    def has_left_command(self, app: App) -> bool:
        """Whether a command was running when its server was killed; `recover` ends it."""

    async def pause(self, replica: str) -> None:
        """Hold all processes of a replica still; one that does not run stays as it is."""

    async def unpause(self, replica: str) -> None:
        """Let a replica that is held still go on."""

    async def keeps_own_data(self, app: App, service: str) -> bool:
        """Whether a replica of a service has data that no other replica of it can have."""

    async def read_restarts(self, replica: str) -> RestartHistory | None:
        """The number of times that a replica was started again; None where it is gone."""

    async def list_listening_ports(self, replica: Replica) -> Sequence[ListeningPort] | None:
        """On which TCP ports a replica that runs listens; None where that cannot be seen from here."""

    async def measure_usage(self, replicas: Sequence[str]) -> Mapping[str, ReplicaUsage]:
        """The usage of these replicas now, by id; those that do not run are left out."""

    async def watch(self, on_change: OnReplicaEvent) -> None:
        """Tell of each replica that starts, ends or changes its health. Never returns.

        After a reconnection every project is told of, without a replica: what happened meanwhile is unknown.
        """

    async def read_last_lines(self, app: AppName, replica: Replica, lines: int) -> Sequence[str]:
        """The last lines of a replica's output, without control characters and secrets of the app."""

    async def read_log(self, replica: Replica, *, tail: int, since: float | None) -> Sequence[LogLine]:
        """The last lines of a replica's output, from a moment on where given (seconds of Unix time)."""

    def follow_log(self, replica: Replica, *, since: float) -> AsyncIterator[LogLine]:
        """Each line of a replica's output from a moment on, until it ends."""

    async def find_taken_ports(
        self, app: AppName, model: ComposeModel, is_platform: Callable[[int], bool]
    ) -> list[TakenPort]:
        """The published ports of a resolved model that another has.

        Args:
            is_platform: whether IKOMA itself has a port, which the policy refuses.
        """

    async def find_taken_names(self, app: AppName, model: ComposeModel) -> list[TakenName]:
        """The names that a resolved model wants for its replicas, and another has."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that run apps: the runtime, their images and their volumes; and what else runs beside them."""

    runtime: Runtime
    images: Images
    volumes: Volumes
    projects: ComposeProjects | None = None
    """Projects that somebody else runs on this machine; None where an engine cannot take them over."""

    def require_projects(self) -> ComposeProjects:
        """Raises NotImportable where this engine cannot take over what somebody else runs."""
        if self.projects is None:
            raise NotImportable("This engine cannot take over projects that somebody else runs.", hint=_BY_HAND)
        return self.projects
