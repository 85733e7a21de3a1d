"""A rollout as data before it is deeds: what is to run, what is done for that, and what the app does meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ikoma.compose.compose_file import Web
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.mounts import Sources
from ikoma.compose.roles.release_command import ReleaseCommand
from ikoma.compose.x_ikoma import Extension
from ikoma.errors import IkomaError
from ikoma.ports.progress import Progress
from ikoma.ports.replicas import Replica
from ikoma.rollout_state import Underway

MOST_LINES = 1000


@dataclass(frozen=True, slots=True)
class ReleaseParts:
    """The parts of a release that its model does not say.

    Args:
        sources: which mounts of the model are source, of which the release has a copy, and which are data.
        configurations: service → checksum of all that its replicas are made of: equal ones need not be replaced.
        given: values of the variables that the release was made with.
        dotenv: the app's .env, where a service mounts it.
    """

    sources: Sources
    configurations: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)
    dotenv: bytes = b""


@dataclass(frozen=True, slots=True)
class RolloutTarget:
    """The release to run, whose model was checked.

    Args:
        model: what was checked, with all that replicas get.
        again: replace also what would not need to be.
        stops_first: whether all that serves is stopped before the database is changed.
        command: what runs after the migrations, like the new replicas of its service.
        watch: for how many seconds what is replaced is kept in standby.
        scale: how many replicas a service is to have, where that differs from what the model says.
        before: the model of what serves; empty where nothing does.
    """

    release: str
    model: ComposeModel
    parts: ReleaseParts
    extension: Extension
    web: Web | None = None
    again: bool = False
    stops_first: bool = False
    command: ReleaseCommand | None = None
    watch: float = 0.0
    scale: Mapping[str, int] = field(default_factory=dict)
    before: ComposeModel = EMPTY


class RolloutStep(StrEnum):
    """The main thing that a rollout does with a service."""

    KEEP = "keep"
    START = "start"
    REPLACE = "replace"
    """The new replicas start beside the old ones."""
    STOP_FIRST = "stop first"
    """The old replicas stop before the new ones start."""
    RUN_ONCE = "run once"
    """Starts, and ends by itself; others wait for that."""
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class ServiceRollout:
    """The part of a plan that one service has."""

    service: str
    keep: tuple[Replica, ...] = ()
    replace: tuple[Replica, ...] = ()
    """Replicas that go once the new ones serve."""
    start: int = 0
    """How many replicas are made."""
    stop_first: tuple[Replica, ...] = ()
    """Replicas that are stopped before the new ones start, of other services too."""
    run_once: bool = False
    alone: str | None = None
    """Why old and new replicas cannot run at once; None where they can."""
    displaces: Mapping[str, str] = field(default_factory=dict)
    """Other services that stop before it starts, each with what it gives up to this one."""
    outdated: bool = False
    """Whether it is replaced only so that what an old rollout has made can go."""

    @property
    def step(self) -> RolloutStep:
        """The main thing that is done."""
        if not self.start:
            return RolloutStep.REMOVE if self.replace and not self.keep else RolloutStep.KEEP
        if self.run_once:
            return RolloutStep.RUN_ONCE
        if any(item.service == self.service for item in self.stop_first):
            return RolloutStep.STOP_FIRST
        return RolloutStep.REPLACE if self.replace else RolloutStep.START


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """All that a rollout does, in the order in which services need each other; then those that go."""

    release: str
    services: tuple[ServiceRollout, ...]
    stops_first: bool = False
    """Whether all that serves is stopped before the database is changed."""
    command: ReleaseCommand | None = None
    """The command that runs after the migrations, and before the services start that do not need its own."""
    reactivates: bool = False
    """Whether what is in standby serves again as it is; the services say what is done where it does not come up."""

    def find(self, service: str) -> ServiceRollout | None:
        """Find the part of one service."""
        return next((item for item in self.services if item.service == service), None)


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """The outcome of a rollout."""

    services: tuple[str, ...]
    replaced: tuple[str, ...]
    """Services whose replicas were replaced or removed."""
    configurations: Mapping[str, str]
    downtime_ms: int
    drain_ms: int
    """How long requests to the old replicas were waited for."""
    backup: str | None = None
    """The backup of the database that was made before it was changed."""
    rest: str = ""
    """Work that goes on still; empty where all is done."""


@dataclass(slots=True)
class CommandOutput:
    """The output of a command: its last lines, and how many there were."""

    last: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    count: int = 0

    @property
    def lines(self) -> list[str]:
        return list(self.last)


class DatabaseChange(Protocol):
    """The database's part of a rollout, before its replicas start."""

    @property
    def is_untouched(self) -> bool:
        """Whether it is certain that nothing was changed so far, also where that was tried and has failed."""

    async def rehearse(self, progress: Progress) -> None:
        """Try the change on a copy of the database, where replicas are to be stopped for it.

        Raises BackupUnproven, or what the change itself would fail of. What serves goes on meanwhile.
        """

    async def back_up(self, progress: Progress) -> str | None:
        """The name of a backup that was made now; None where nothing will change."""

    async def apply(self, progress: Progress) -> None: ...

    async def enter_command(self) -> None:
        """Note in the ledger that the command runs: from here on it may have changed the database."""

    def keep_output(self, lines: Sequence[str]) -> None:
        """Keep what the command said with the release."""


class SettlingHooks(Protocol):
    """The app's part where a rollout is undone or finished, or what was kept of one goes."""

    async def keep_logs(self, replicas: Sequence[Replica]) -> None:
        """Keep the last lines of these replicas: they are about to be removed."""

    async def restore_database(self, backup: str) -> None:
        """Take the database back: nothing has been written since this backup was made."""

    def tell_unrestored(self, cause: IkomaError, underway: Underway, trouble: IkomaError) -> None:
        """Say in the error of a rollout that failed what became of the database, and what can be done."""

    async def refresh_route(self) -> None:
        """Let requests go to where the replicas that serve are now."""

    async def restore_route(self) -> None:
        """Let the app have the route of the release that serves, after a rollout that was undone."""

    async def restore_switch(self) -> None:
        """Send requests to the replicas that serve, whether or not that had been done before a kill."""

    async def drain(self) -> int:
        """Wait for the requests that what was replaced still has; for how many milliseconds that was."""


class RolloutHooks(SettlingHooks, Protocol):
    """The app's part in a rollout, in the order of its moments."""

    @property
    def change(self) -> DatabaseChange | None:
        """The change of the database, immediately before the new replicas start."""

    async def check(self, model: ComposeModel) -> None:
        """Refuse mounts, as they are made, that a replica could change."""

    async def set_route(self, replicas: int) -> None:
        """Let the app have the route that the release wants.

        Args:
            replicas: how many of them requests are shared among.
        """

    async def pause(self) -> None:
        """Let new requests wait, and give those that are under way the time to end."""

    async def wait_for_answers(self, replicas: Sequence[Replica]) -> None:
        """Wait until these replicas answer requests, where the app has any; raises DeployFailed where they don't."""

    async def explain_silence(self, replicas: Sequence[Replica]) -> str:
        """Tell where these replicas listen instead of the port that requests go to; empty where that is not known."""

    def serve(self, rollout: str) -> None:
        """Write down that the release serves: from here on everything leads forward."""

    def switch(self, replicas: Sequence[Replica]) -> None:
        """Send requests to these replicas from now on."""
