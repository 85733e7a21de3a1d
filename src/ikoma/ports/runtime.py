"""The seam to what runs apps: services and their replicas, images and volumes, in words that any engine can pass.

An app *has* an `AppState` (ports/replicas.py): services and their replicas. A rollout *does* what a `RolloutPlan`
says (ports/rollout.py): `Runtime.plan` makes it, `Runtime.roll` carries it out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.model import AppName, Secret
from ikoma.ports.progress import Progress
from ikoma.ports.projects import ComposeProjects
from ikoma.ports.replicas import AppState, Replica
from ikoma.ports.rollout import CommandOutput, RolloutHooks, RolloutPlan, RolloutResult, RolloutTarget, SettlingHooks


@dataclass(frozen=True, slots=True)
class EngineVersion:
    version: str
    api: str
    """API version as "1.41"."""
    gateway: str | None
    """The address at which replicas reach this machine."""


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
class Image:
    id: str
    labels: Mapping[str, str]
    triggers: Sequence[str] = ()
    """Steps of every build that begins with it (ONBUILD)."""
    user: str = ""
    """User its processes run as, as it says it; empty for root."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a replica's output. `at` is when it was written: RFC 3339 in UTC, to the nanosecond."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """A volume or a network as it was made."""

    project: str
    """The Compose project it belongs to; "" where it belongs to none."""
    driver: str
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    subnets: tuple[str, ...] = ()
    """Subnets of a network."""
    internal: bool = False


@dataclass(frozen=True, slots=True)
class VolumeWriter:
    """A container that may write to a volume."""

    id: str
    project: str
    """The Compose project that it is of; "" where it is of none."""
    state: str
    """running, paused or restarting."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A volume or network of a model that is there already, and was made otherwise."""

    kind: str
    key: str
    what: str
    """Which of its settings."""
    matters: bool
    """Whether it would not do what the model says: of a label nothing depends."""
    fix: str

    @property
    def problem(self) -> str:
        return f"The {self.kind} {self.key} exists, and was made with other {self.what}: it stays as it is."


@dataclass(frozen=True, slots=True)
class SubnetOverlap:
    """A subnet that a network of a model chooses, and another network has addresses of."""

    key: str
    subnet: str
    name: str
    """The name of the other network."""
    is_own: bool
    """Whether that one is the app's own."""


@dataclass(frozen=True, slots=True)
class AnonymousVolume:
    """A volume without a name of its own, and where its service has it."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class ExistingResources:
    """The volumes and networks that are there, beside a model that names some."""

    volumes: frozenset[str]
    """Names of all volumes, whosever."""
    owners: Mapping[str, str]
    """All volumes and networks, as `Volumes.map_owners` tells of them."""
    differences: tuple[Difference, ...] = ()
    overlaps: tuple[SubnetOverlap, ...] = ()
    anonymous: Mapping[str, Sequence[AnonymousVolume]] = field(default_factory=dict)
    """service → the volumes without a name that it has had its data in."""


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port that a service publishes, by its place in the model, and who has it."""

    service: str
    index: int
    port: str
    holder: str
    is_of_this_app: bool = False
    """Whether another port of the same app has it."""


@dataclass(frozen=True, slots=True)
class TakenName:
    """A name that a service's replicas want to have, by its place in the model, and another has."""

    service: str
    key: str | None
    """The key of the service that chooses it; None where its replicas get such names by themselves."""
    name: str
    holder: str
    """The Compose project that has it, "" where none has made it."""


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
        secrets: Sequence[Secret],
    ) -> RolloutResult:
        """Carry a plan out: bring a release up, and let it take over. `recover` comes before the plan.

        Args:
            plan: as `plan` made it for this target, immediately before.
            hooks: what the app does at each moment; `hooks.serve` is the one that counts.
            timeout: seconds until every replica must be healthy.
            secrets: scrubbed from every progress message and error.

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
        secrets: Sequence[Secret],
        output: CommandOutput,
    ) -> int:
        """Run a command in a replica of its own, made as another one is; its exit code. It is removed at the end.

        Args:
            timeout: seconds, after which it is ended.
            progress: told of each line, as `service | line`.
            output: takes the lines, without these secrets.

        Raises:
            CommandNotStarted, CommandTimedOut
        """

    def has_left_command(self, app: App) -> bool:
        """Whether a command was running when its server was killed; `recover` ends it."""

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

    async def read_last_lines(self, replica: Replica, lines: int, secrets: Sequence[Secret]) -> Sequence[str]:
        """The last lines of a replica's output, without control characters and these secrets."""

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


class Images(Protocol):
    """The images that apps run."""

    async def prepare(
        self,
        app: AppName,
        compose_file: Path,
        *,
        build: Sequence[str],
        pull: Sequence[str],
        progress: Progress,
        secrets: Sequence[Secret],
    ) -> None:
        """Build and pull the images of these services. Nothing that runs is touched.

        `secrets` are scrubbed from every progress message and error. Raises DeployFailed.
        """

    async def find(self, reference: str) -> Image | None:
        """The image that a name stands for now; None where it is not here."""

    async def has(self, reference: str) -> bool: ...

    async def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""

    async def list_names(self, prefix: str) -> Sequence[str]:
        """Names of images that begin with this."""

    async def forget(self, name: str) -> None:
        """Take a name from an image; the image goes with its last one, unless something runs from it."""

    async def check_obtainable(self, reference: str) -> str | None:
        """None when the image's registry would give it, else the reason in one sentence.

        A few are asked for at a time, whoever asks.
        """


class Volumes(Protocol):
    """The volumes that apps keep their data in."""

    async def find_root(self) -> str:
        """The folder in which the engine keeps images and volumes."""

    async def map_owners(self) -> Mapping[str, str]:
        """Names of all volumes and networks → the Compose project that made each, "" where none did."""

    async def compare(self, app: App, model: ComposeModel) -> ExistingResources:
        """Find what is there already of the volumes and networks that a model names."""

    async def list_of(self, app: App) -> Sequence[str]:
        """Names of all volumes that hold data of an app."""

    async def describe_all(self) -> Mapping[str, ResourceInfo]:
        """All volumes that are there, as they were made."""

    async def list_writers(self, name: str) -> Sequence[VolumeWriter]:
        """List the containers that have a volume other than read-only, and run or are paused."""

    async def remove(self, name: str) -> None:
        """Remove a volume that nothing has."""

    async def load(self, app: AppName, volume: str, made: ResourceInfo, source: Path) -> None:
        """Make a volume as it was made once, and fill it with what `save` wrote. It must not be there yet."""

    async def save(self, app: AppName, volume: str, target: Path) -> int:
        """Write a volume's content to `target` as a tar file, whole or not at all; its size."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that run apps: the runtime, their images and their volumes; and what else runs beside them."""

    runtime: Runtime
    images: Images
    volumes: Volumes
    projects: ComposeProjects
