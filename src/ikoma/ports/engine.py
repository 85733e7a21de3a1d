"""The Protocol of the engine that runs containers, and the plain data that passes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ikoma.model import AppName, Secret
from ikoma.ports.progress import Progress


@dataclass(frozen=True, slots=True)
class EngineVersion:
    version: str
    api: str
    """API version as "1.41"."""
    gateway: str | None
    """The bridge's gateway address, where containers reach this machine."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of an app as the engine sees it now."""

    id: str
    name: str
    service: str
    state: str
    """created, running, paused, restarting, removing, exited or dead."""
    health: str | None
    """healthy, unhealthy, starting, or None when the container has no healthcheck."""
    exit_code: int | None
    """Only where the container is not running."""
    image: str
    created_at: str
    working_dir: str | None
    """The folder of the Compose project it belongs to."""
    addresses: tuple[str, ...] = ()
    """Its addresses on the networks of this machine."""
    published: tuple[tuple[str, int, int], ...] = ()
    """(host address, host port, container port) of each published TCP port."""
    one_shot: bool = False
    """True for a service that others wait for with service_completed_successfully."""
    is_job: bool = False
    """Whether it may end well: with exit code 0 it is done."""
    configuration: str | None = None
    """Checksum of what it was made of (label ikoma.configuration); None where IKOMA did not make it."""
    rollout: str | None = None
    """The rollout that made it (label ikoma.rollout)."""
    release: str | None = None
    """The release whose source, configs and secrets it mounts (label ikoma.release)."""
    networks: tuple[str, ...] = ()
    """Names of the networks it is in."""
    started_again: bool = False
    """Whether it runs since a few minutes, though it was made before: as far as a list of containers tells."""

    @property
    def is_done(self) -> bool:
        """Whether it is a job that has ended well."""
        return self.is_job and self.state == "exited" and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """How often the engine has started a container again by itself. Moments are Unix time."""

    restarts: int
    made: float
    started: float
    """When it was started last."""


@dataclass(frozen=True, slots=True)
class ListeningPort:
    """A TCP port that a container listens on; `is_local` where only what is inside it can reach that."""

    address: str
    port: int
    is_local: bool


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """The resources that a running container takes of the machine. CPU is in percent of one core."""

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
class ServiceStart:
    """The containers of one service that are to be started, and what must be true before."""

    service: str
    containers: tuple[str, ...]
    after: Mapping[str, str] = field(default_factory=dict)
    """service → service_started, service_healthy or service_completed_successfully."""
    first: Callable[[], Awaitable[None]] | None = None
    """What must be done immediately before, such as stopping the container it replaces."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that a process runs as, or that a folder belongs to."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class AnonymousVolume:
    """A volume without a name of its own, and where its container has it."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """A volume or a network as it was made."""

    project: str
    """The Compose project it belongs to; "" where it belongs to none."""
    driver: str
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    subnets: tuple[str, ...] = ()
    """Of a network."""
    internal: bool = False


@dataclass(frozen=True, slots=True)
class ResourceInventory:
    """All volumes and all networks of the engine, by name."""

    volumes: Mapping[str, ResourceInfo] = field(default_factory=dict)
    networks: Mapping[str, ResourceInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command has ended."""

    exit_code: int
    out_of_memory: bool = False


class ContainerNotStarted(Exception):
    """The engine cannot start a container; the text is its reason."""


class ContainerWatch(Protocol):
    """A record of what happens to an app's containers from a moment on."""

    def measure_downtime_ms(self, after: Sequence[Container]) -> int:
        """The longest time any service that served before and is there after had no container that serves."""


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    labels: Mapping[str, str]
    triggers: Sequence[str] = ()
    """What it has every build do that begins with it (ONBUILD)."""
    user: str = ""
    """Whom its processes run as, as it says it; empty for root."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's output. `at` is when it was written: RFC 3339 in UTC, to the nanosecond."""

    at: str
    text: str


VARIABLES_FILE = "compose.env"
"""Beside a resolved compose file: the variables that its configs and secrets take their content from."""


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened in a project: to this container, or nobody knows what."""

    project: str
    container: str | None = None
    happened: str | None = None
    """start, die, stop, oom, destroy or health_status: healthy."""
    exit_code: int | None = None
    """Of one that died."""


OnEngineEvent = Callable[[EngineEvent], None]


class Engine(Protocol):
    """Where containers run. Raises EngineUnavailable within 5 s when the engine is away; a busy one is waited for."""

    async def read_version(self) -> EngineVersion: ...

    async def find_root(self) -> str:
        """Where the engine keeps images and volumes."""

    async def list_containers(self, app: AppName) -> Sequence[Container]:
        """All containers, running or not, of the app's Compose project."""

    async def list_all_containers(self) -> Mapping[str, Sequence[Container]]:
        """Containers of every Compose project on the engine, by project name."""

    async def map_container_owners(self) -> Mapping[str, str]:
        """Names of all containers on the engine → their Compose project, empty where they have none."""

    async def read_restarts(self, container: str) -> RestartHistory | None:
        """How often a container was started again; None where it is gone."""

    async def list_listening_ports(self, container: Container) -> Sequence[ListeningPort] | None:
        """On which TCP ports a container that runs listens; None where that cannot be seen from here."""

    async def measure_usage(self, containers: Sequence[str]) -> Mapping[str, ContainerUsage]:
        """The usage of these containers now, by id; those that do not run are left out."""

    async def watch(self, on_change: OnEngineEvent) -> None:
        """Tell of each container that starts, ends or changes its health. Never returns.

        After a reconnection every project is told of, without a container: what happened meanwhile is unknown.
        """

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

        `secrets` are scrubbed from every progress message and error. Raises DeployFailed, as `bring_up` does.
        """

    async def create(
        self,
        app: AppName,
        compose_file: Path,
        *,
        scale: Mapping[str, int],
        progress: Progress,
        secrets: Sequence[Secret],
    ) -> Sequence[Container]:
        """Make containers of a resolved compose file beside those that are there, and start none of them.

        Args:
            scale: how many containers each service is to have then, with those it has.

        Returns the new ones.
        """

    def watch_containers(self, app: AppName) -> AbstractAsyncContextManager[ContainerWatch]:
        """Follows what happens to an app's containers while the block runs."""

    async def bring_up(
        self,
        app: AppName,
        starts: Sequence[ServiceStart],
        *,
        kept: Collection[str],
        watching: ContainerWatch,
        timeout: float,
        progress: Progress,
        secrets: Sequence[Secret],
    ) -> Sequence[Container]:
        """Start containers in the order in which they need each other, and wait until all of them are healthy.

        Args:
            kept: ids of containers that run already and that others may wait for.

        Returns these containers as they are then. Raises DeployFailed with details {service, exitCode, logs (last
        20 lines)}.
        """

    async def run_once(
        self,
        app: AppName,
        like: str,
        command: Sequence[str],
        *,
        name: str,
        on_line: Callable[[str], Awaitable[None]],
        timeout: float,
    ) -> CommandResult:
        """Run a command in a container of its own, made as one of the app's is: with its image, variables, mounts,
        networks and limits. It is removed at the end.

        Args:
            like: the id of that container, running or not.
            name: what its own is called.
            on_line: takes each line of its output.

        Raises NotStarted, and TimeoutError when it took longer and was ended.
        """

    async def start_again(self, containers: Sequence[str]) -> None:
        """Start containers that ran before, by id; those that are gone are passed over."""

    async def stop_containers(self, containers: Sequence[str]) -> None:
        """Ask containers to end, by id, all at once; each has as long as it says."""

    async def remove_containers(self, containers: Sequence[str], *, volumes: bool) -> None:
        """Remove containers by id, running or not, with their volumes without a name when asked."""

    async def rename(self, container: str, name: str) -> None: ...

    async def list_anonymous_volumes(self, container: str) -> Sequence[AnonymousVolume]:
        """The volumes without a name that a container has its data in."""

    async def find_user(self, container: str) -> Owner | None:
        """The user that a container's processes run as; None where its image does not say who that is."""

    async def own_volumes(self, container: str, owner: Owner) -> None:
        """Give the volumes of a container that are empty and root's to an owner, before it is started."""

    async def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        """Join a container to one more network, under these names."""

    async def disconnect(self, network: str, container: str) -> None: ...

    async def list_networks(self, app: AppName) -> Sequence[str]:
        """Names of the networks of the app's Compose project."""

    async def remove_network(self, name: str) -> bool:
        """Remove a network; False where containers are still in it."""

    async def find_image(self, reference: str) -> Image | None:
        """The image that a name stands for now; None where it is not here."""

    async def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""

    async def list_images(self, prefix: str) -> Sequence[str]:
        """Names of images that begin with this."""

    async def forget_image(self, name: str) -> None:
        """Take a name from an image; the image goes with its last one, unless something runs from it."""

    async def down(self, app: AppName, *, volumes: bool, progress: Progress) -> None:
        """Stop and remove the app's containers and networks, and its own named volumes when asked."""

    async def stop(self, app: AppName, *, progress: Progress) -> None:
        """Stop the app's containers and keep them."""

    async def read_logs(self, container: Container, lines: int, secrets: Sequence[Secret]) -> Sequence[str]:
        """The last lines of a container's output, without control characters and these secrets."""

    async def read_log(self, container: Container, *, tail: int, since: float | None) -> Sequence[LogLine]:
        """The last lines of a container's output, from a moment on where given (seconds of Unix time)."""

    def follow_log(self, container: Container, *, since: float) -> AsyncIterator[LogLine]:
        """Each line of a container's output from a moment on, until it ends."""

    async def map_owners(self) -> Mapping[str, str]:
        """Names of all volumes and networks → the Compose project that made each, "" where none did."""

    async def list_resources(self) -> ResourceInventory:
        """All volumes and networks that are there, as they were made."""

    async def list_volumes(self, app: AppName) -> Sequence[str]:
        """Names of the named volumes that the app's Compose project owns."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume that no container has."""

    async def save_volume(self, app: AppName, volume: str, target: Path) -> int:
        """Write a volume's content to `target` as a tar file, whole or not at all; its size."""

    async def load_volume(self, app: AppName, volume: str, made: ResourceInfo, source: Path) -> None:
        """Make a volume as it was made once, and fill it with what `save_volume` wrote. It must not be there yet."""

    async def has_image(self, reference: str) -> bool: ...

    async def check_image_obtainable(self, reference: str) -> str | None:
        """None when the image's registry would give it, else the reason in one sentence.

        A few are asked for at a time, whoever asks.
        """

    async def close(self) -> None: ...
