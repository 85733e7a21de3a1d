"""The Protocols between what IKOMA decides and what carries it out.

Capabilities see containers and databases only through these. Every Protocol has one suite in tests/contract.
All methods are coroutines unless they are cheap and local; all sizes are bytes, all durations seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from ikoma.model import AppName, Secret


class Progress(Protocol):
    """Tells the caller how long work goes on. `fraction` is 0..1 where known."""

    def __call__(self, message: str, fraction: float | None = None) -> None: ...


BUILD_LINE = "build | "
"""How a message begins that is a line of what a build says, and no step of the work."""


def no_progress(message: str, fraction: float | None = None) -> None:
    """Progress for those who do not want it."""


# --- engine ------------------------------------------------------------------------------------------------


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
class Lives:
    """How often the engine has started a container again by itself. Moments are Unix time."""

    restarts: int
    made: float
    started: float
    """When it was started last."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A TCP port that a container listens on; `is_local` where only what is inside it can reach that."""

    address: str
    port: int
    is_local: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running container takes of the machine. CPU is in percent of one core."""

    cpu_percent: float
    memory_bytes: int
    memory_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the real Compose parser made of an app's files."""

    model: Mapping[str, Any] | None
    """The canonical model; None when `error` is set."""
    error: str | None
    """Compose's own words when it refused the files."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """The containers of one service that are to be started, and what must be true before."""

    service: str
    containers: tuple[str, ...]
    after: Mapping[str, str] = field(default_factory=dict)
    """service → service_started, service_healthy or service_completed_successfully."""
    first: Callable[[], Awaitable[None]] | None = None
    """What must be done immediately before, such as stopping the container it replaces."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a process runs as, or whom a folder belongs to."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class CarriedVolume:
    """A volume without a name of its own, and where its container has it."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Made:
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
class Existing:
    """All volumes and all networks of the engine, by name."""

    volumes: Mapping[str, Made] = field(default_factory=dict)
    networks: Mapping[str, Made] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command has ended."""

    exit_code: int
    out_of_memory: bool = False


class NotStarted(Exception):
    """The engine cannot start a container; the text is its reason."""


class Watching(Protocol):
    """What happens to an app's containers from a moment on."""

    def downtime_ms(self, after: Sequence[Container]) -> int:
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
class Change:
    """Something happened in a project: to this container, or nobody knows what."""

    project: str
    container: str | None = None
    happened: str | None = None
    """start, die, stop, oom, destroy or health_status: healthy."""
    exit_code: int | None = None
    """Of one that died."""


OnChange = Callable[[Change], None]


class Engine(Protocol):
    """Where containers run. Raises EngineUnavailable within 5 s when the engine is away; a busy one is waited for."""

    async def version(self) -> EngineVersion: ...

    async def root(self) -> str:
        """Where the engine keeps images and volumes."""

    async def containers(self, app: AppName) -> Sequence[Container]:
        """All containers, running or not, of the app's Compose project."""

    async def all_containers(self) -> Mapping[str, Sequence[Container]]:
        """Containers of every Compose project on the engine, by project name."""

    async def container_owners(self) -> Mapping[str, str]:
        """Names of all containers on the engine → their Compose project, empty where they have none."""

    async def lives(self, container: str) -> Lives | None:
        """How often a container was started again; None where it is gone."""

    async def listening(self, container: Container) -> Sequence[Listening] | None:
        """On which TCP ports a container that runs listens; None where that cannot be seen from here."""

    async def usage(self, containers: Sequence[str]) -> Mapping[str, Usage]:
        """What these containers take of the machine now, by id; those that do not run are left out."""

    async def watch(self, on_change: OnChange) -> None:
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

    def watching(self, app: AppName) -> AbstractAsyncContextManager[Watching]:
        """Follows what happens to an app's containers while the block runs."""

    async def bring_up(
        self,
        app: AppName,
        starts: Sequence[Start],
        *,
        kept: Collection[str],
        watching: Watching,
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
    ) -> Ended:
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

    async def carried(self, container: str) -> Sequence[CarriedVolume]:
        """The volumes without a name that a container has its data in."""

    async def user(self, container: str) -> Owner | None:
        """Whom a container's processes run as; None where its image does not say who that is."""

    async def own_volumes(self, container: str, owner: Owner) -> None:
        """Give the volumes of a container that are empty and root's to an owner, before it is started."""

    async def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        """Join a container to one more network, under these names."""

    async def disconnect(self, network: str, container: str) -> None: ...

    async def networks(self, app: AppName) -> Sequence[str]:
        """Names of the networks of the app's Compose project."""

    async def remove_network(self, name: str) -> bool:
        """Remove a network; False where containers are still in it."""

    async def image(self, reference: str) -> Image | None:
        """The image that a name stands for now; None where it is not here."""

    async def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""

    async def images(self, prefix: str) -> Sequence[str]:
        """Names of images that begin with this."""

    async def forget_image(self, name: str) -> None:
        """Take a name from an image; the image goes with its last one, unless something runs from it."""

    async def down(self, app: AppName, *, volumes: bool, progress: Progress) -> None:
        """Stop and remove the app's containers and networks, and its own named volumes when asked."""

    async def stop(self, app: AppName, *, progress: Progress) -> None:
        """Stop the app's containers and keep them."""

    async def logs(self, container: Container, lines: int, secrets: Sequence[Secret]) -> Sequence[str]:
        """The last lines of a container's output, without control characters and these secrets."""

    async def log(self, container: Container, *, tail: int, since: float | None) -> Sequence[LogLine]:
        """The last lines of a container's output, from a moment on where given (seconds of Unix time)."""

    def follow_log(self, container: Container, *, since: float) -> AsyncIterator[LogLine]:
        """Each line of a container's output from a moment on, until it ends."""

    async def owners(self) -> Mapping[str, str]:
        """Names of all volumes and networks → the Compose project that made each, "" where none did."""

    async def existing(self) -> Existing:
        """All volumes and networks that are there, as they were made."""

    async def volumes(self, app: AppName) -> Sequence[str]:
        """Names of the named volumes that the app's Compose project owns."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume that no container has."""

    async def save_volume(self, app: AppName, volume: str, target: Path) -> int:
        """Write a volume's content to `target` as a tar file, whole or not at all; its size."""

    async def image_present(self, reference: str) -> bool: ...

    async def image_obtainable(self, reference: str) -> str | None:
        """None when the image's registry would give it, else the reason in one sentence.

        A few are asked for at a time, whoever asks.
        """

    async def close(self) -> None: ...


# --- proxy -------------------------------------------------------------------------------------------------


class Side(Enum):
    """Where an app's requests go. A deploy brings the new release up on the side that does not serve, then switches."""

    BLUE = "blue"
    GREEN = "green"
    DOWN = "down"
    """Nowhere: the app is out of service, and requests are told so."""
    MAINTENANCE = "maintenance"
    """Nowhere: the app is being worked on, and requests are told so."""

    @property
    def other(self) -> Side:
        """The side that a deploy uses next."""
        return Side.GREEN if self is Side.BLUE else Side.BLUE


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach one app. Durations are seconds, sizes bytes."""

    app: AppName
    port: int
    """The port on loopback that is this app's, whatever else changes."""
    domains: tuple[str, ...] = ()
    """Names beside APP.localhost; they get certificates, and plain HTTP on them is redirected."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    """Names that only point to another: www.example.com → example.com."""
    slots: int = 1
    """How many containers may share the requests."""
    hold: float = 15.0
    """How long a request waits for a container that can be connected to."""
    timeout: float | None = None
    """How long the app may take to begin its answer; None for as long as it wants."""
    largest_body: int | None = None


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where people's requests for a name of an app come in."""

    url: str
    """The site, as people write it."""
    host: str
    """What their Host header says."""
    address: str
    """An IP address of this machine."""
    port: int
    encrypted: bool


class Proxy(Protocol):
    """Passes requests on to apps. It outlives IKOMA: what it was told last holds until it is told otherwise.

    Which routes there are is configuration, and changing it is rare. Where a route leads is switched without touching
    the configuration, so that no connection is lost.
    """

    async def start(self) -> None:
        """Take the running proxy over, or start one."""

    async def apply(self, routes: Sequence[Route]) -> None:
        """Serve exactly these routes. What does not change the configuration does not touch the proxy.

        Raises ProxyRefused where the proxy would not take it: what was served before goes on.
        """

    def point(self, app: AppName, side: Side, addresses: Sequence[str]) -> None:
        """Let a side of an app's route lead to these addresses (host:port), durably and at once."""

    def switch(self, app: AppName, side: Side) -> None:
        """Send requests that begin from now on to this side, durably and at once."""

    def side(self, app: AppName) -> Side:
        """Where requests go now; DOWN where that was never said."""

    async def in_flight(self, app: AppName, side: Side) -> int:
        """Requests of this side that are not finished, websockets among them."""

    @property
    def listeners(self) -> Mapping[str, bool]:
        """The public listeners that are asked for, http and https, and whether each is up."""

    @property
    def obstacles(self) -> Mapping[str, str]:
        """Why a listener is not up: a sentence for each setting or port."""

    def urls(self, route: Route) -> tuple[str, ...]:
        """Where the app is reached, the best for a person first."""

    def entrance(self, route: Route, name: str) -> Entrance:
        """Where requests for a name of an app come in: of its domains, its redirects or its own host.

        Raises ProxyUnavailable where nothing of the proxy listens for them.
        """

    def certificate_trouble(self, name: str) -> str | None:
        """Why a name has no certificate, as the authority said last; None where it said nothing."""

    def forget(self, app: AppName) -> None:
        """Remove what is kept of an app that is gone."""

    async def stop(self) -> None:
        """End the proxy; with it go all connections."""

    async def close(self) -> None:
        """Let go of the proxy, which runs on."""


# --- databases ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Credentials:
    """How an app reaches its own database from inside a container and from this process."""

    database: str
    role: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where containers reach PostgreSQL."""

    host: str
    port: int
    host_gateway: bool
    """True when `host` must be mapped to the engine's host-gateway address."""
    tls_port: int | None = None
    """The port for clients that insist on TLS, where that is another one."""
    certificate: str | None = None
    """What they verify the server by, as PEM text; None where whoever runs it says so."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    exists: bool
    name: str
    size: int = 0
    tables: tuple[str, ...] = ()
    """Table names; with their schema in front when it is not public. IKOMA's ledger is not among them."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file that is applied once. `name` is what errors and the ledger call it."""

    name: str
    sql: str
    checksum: str

    @classmethod
    def of(cls, name: str, sql: str) -> Migration:
        """The checksum does not see line endings and trailing space: `$(cat FILE)` in a shell changes those."""
        text = sql.replace("\r\n", "\n").rstrip()
        return cls(name, sql, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    name: str
    checksum: str
    applied_at: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query gave: values as JSON has them, and as text, as psql shows it, where JSON has nothing like it."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """As PostgreSQL calls them, such as "character varying(20)"."""
    rows: Sequence[Sequence[Any]]
    truncated: bool
    """True where there was more: rows beyond the limit, or beyond what one answer holds."""


@dataclass(frozen=True, slots=True)
class Dump:
    path: Path
    size: int
    sha256: str
    tables: Mapping[str, int] = field(default_factory=dict)
    """Rows of each table in the same snapshot as the dump."""


class Databases(Protocol):
    """PostgreSQL. Raises DatabasesUnavailable within 5 s when it is away."""

    async def version(self) -> str: ...

    def endpoint(self) -> Endpoint: ...

    async def create(self, app: AppName, password: Secret) -> None:
        """Converge on: the app's database and its own login role with this password, isolated from all else."""

    async def drop(self, app: AppName) -> None:
        """Drop the app's database and role if IKOMA made them; sessions in it are ended."""

    async def owns(self, app: AppName) -> bool:
        """Whether there is a database that IKOMA made for this app."""

    async def state(self, app: AppName) -> DatabaseState: ...

    async def rows(self, credentials: Credentials, *, timeout: float = 5) -> Mapping[str, int | None]:
        """Rows of each of the app's tables now; None for a table that could not be counted within the time."""

    async def check_login(self, credentials: Credentials, *, fresh: bool = True) -> None:
        """Log in as the app's own role and run one statement; raises where that fails."""

    async def ledger(self, credentials: Credentials) -> Sequence[LedgerEntry]: ...

    async def migrate(
        self, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
    ) -> bool:
        """Apply one migration with its ledger entry in one transaction; False when it was applied before."""

    async def revert(
        self, credentials: Credentials, name: str, down: Migration, *, timeout: float, lock_timeout: float
    ) -> None:
        """Undo the migration of this name by `down`, in one transaction that also removes its ledger entry.

        Raises CannotRevert where it is not the newest entry: several go newest first.
        """

    async def run_sql(self, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
        """Run a seed file in one transaction as the app's role."""

    async def query(self, credentials: Credentials, sql: str, *, limit: int, timeout: float) -> Rows:
        """Run one reading statement as the app's role, in a transaction that cannot write and is rolled back.

        Raises NotAQuery, QueryFailed, QueryTimeout, QueryTooLarge.
        """

    async def dump(
        self,
        app: AppName,
        target: Path,
        *,
        heir: AppName | None = None,
        insist: bool = False,
        before: Callable[[Dump], Awaitable[None]] | None = None,
        progress: Progress,
    ) -> Dump:
        """Write plain SQL that psql restores over the existing database, whole or not at all.

        Args:
            heir: the app over whose database it is to be restored, where that is not this one's.
            insist: end sessions of the app that keep a table locked, rather than raise AppBusy.
            before: is given the dump before it is at `target`, under a path that holds meanwhile.
        """

    async def restore(
        self, credentials: Credentials, path: Path, *, into: Credentials | None = None, progress: Progress
    ) -> None:
        """Make the app's database equal to a backup of it, with the app's own rights; a failure changes nothing.

        Args:
            into: the database that is made equal, where that is one that stands in.

        Raises BackupMissing, BackupForeign, BackupDamaged (checked first), RestoreFailed, DatabaseMissing.
        """

    def stand_in(self, credentials: Credentials) -> AbstractAsyncContextManager[Credentials]:
        """An empty database for the block, where a backup and a migration of the app can be tried. It is dropped then.

        Only the app's role enters it, and from this machine alone. Raises DiskFull where a copy of the app's database
        could fill the disk.
        """

    async def prove(
        self, credentials: Credentials, dump: Dump, place: Credentials, *, what: str, progress: Progress
    ) -> float:
        """Restore a dump into a database that stands in, and count its rows there; how many seconds the restore took.

        Args:
            what: how the sentence begins that says why it fails.

        Raises BackupUnproven where it fails, or a table is not whole.
        """

    async def sweep(self) -> None:
        """Drop databases that stood in for calls that were killed."""

    async def drop_stand_in(self, app: AppName) -> None:
        """Drop what a kill has left of one."""

    async def close(self) -> None: ...
