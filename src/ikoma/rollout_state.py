"""The state of an app's rollouts on the disk: a server that was killed in one can finish or undo it.

`.ikoma/serving.json` says which rollout serves: writing it is the moment at which a rollout counts. While one is under
way, `.ikoma/rollout.json` says what it has made and stopped. `.ikoma/standby.json` says which stopped containers of
the rollout before are kept, in case the new one turns unhealthy.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import Protocol, TypeVar

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.errors import AppBusy, Next

T = TypeVar("T")


class RolloutMember(Protocol):
    """Something that a rollout has made, such as a container. Its id is the engine's own."""

    @property
    def id(self) -> str: ...

    @property
    def rollout(self) -> str | None: ...

    @property
    def release(self) -> str | None: ...


_ROLLOUT = re.compile(r"-([0-9]{15}[0-9a-f]{2})$")


@dataclass(frozen=True, slots=True)
class Serving:
    """The rollout whose containers serve, or served last where the app was taken down."""

    release: str
    rollout: str
    since: float
    """Unix time."""
    down: bool = False


@dataclass(frozen=True, slots=True)
class Underway:
    """A rollout that is not finished. `kept`, `stopped` and `returned` are ids of containers.

    The new ones have its label; `returned` are those of earlier rollouts that are started again.
    """

    release: str
    rollout: str
    kept: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    backup: str | None = None
    """The backup that the database is restored from where it fails: nothing has been written since it was made."""
    trouble: str | None = None
    """Why it could not be undone when that was tried last."""

    def brings(self, replica: RolloutMember) -> bool:
        """Whether a container is one that this rollout brings, and not one that is there anyway."""
        return replica.id not in self.kept and (replica.rollout == self.rollout or replica.id in self.returned)


@dataclass(frozen=True, slots=True)
class Standby:
    """Stopped containers of a rollout that could serve again; `until` is Unix time.

    `kept` are ids of those that served with them, and serve on with what has replaced them; `done` ids of jobs among
    the stopped ones that had ended by themselves.
    """

    release: str
    rollout: str
    containers: tuple[str, ...]
    until: float
    kept: tuple[str, ...] = ()
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The rollouts of an app as its files said at one moment: read once, asked for every replica.

    Read it after the containers are listed: a rollout that takes over in between is then seen as having done so.
    """

    serving: Serving | None
    underway: Underway | None
    standby: Standby | None

    @property
    def has_taken_over(self) -> bool:
        """Whether the rollout under way serves already."""
        if self.underway is None or self.serving is None:
            return False
        return self.serving.rollout == self.underway.rollout

    def find_starting(self, replica: RolloutMember) -> str | None:
        """Find the release that a container is of, where a rollout has made it and it does not serve yet; else None."""
        if self.underway is None or self.has_taken_over:
            return None
        return self.underway.release if self.underway.brings(replica) else None

    def list_releases_of(self, replica: RolloutMember) -> set[str]:
        """The releases of a container: the one that made it, and those it serves, is to serve or could serve."""
        found = {replica.release, self.find_starting(replica)}
        if self.serving is not None and self.serves(replica):
            found.add(self.serving.release)
        if self.standby is not None and replica.id in (*self.standby.containers, *self.standby.kept):
            found.add(self.standby.release)
        return {item for item in found if item is not None}

    def serves(self, replica: RolloutMember) -> bool:
        """Whether a container is of what serves: not in standby, and of the one side or the other of a rollout."""
        if self.underway is not None and self.has_taken_over:
            return self.underway.brings(replica) or replica.id in self.underway.kept
        if self.standby is not None and replica.id in self.standby.containers:
            return False
        return self.underway is None or not self.underway.brings(replica)


class RolloutState:
    """The state of one app."""

    def __init__(self, app: App) -> None:
        self._app = app

    def read_view(self) -> RolloutView:
        underway = self.read_underway()  # first: it is written before what serves, and removed after
        return RolloutView(self.read_serving(), underway, self.read_standby())

    def read_serving(self) -> Serving | None:
        return _read(self._app, "serving.json", Serving)

    def read_underway(self) -> Underway | None:
        return _read(self._app, "rollout.json", Underway)

    def require_settled(self) -> None:
        """Raises AppBusy while a rollout is under way, or what it has left is not undone."""
        if (underway := self.read_underway()) is not None:
            raise AppBusy(
                f"The rollout of {underway.release} is not settled yet.",
                hint="Wait until it is; release.abandon gives up a database that cannot be taken back.",
                next=Next("release.list"),
            )

    def read_standby(self) -> Standby | None:
        return _read(self._app, "standby.json", Standby)

    def write(self, state: Serving | Underway | Standby) -> None:
        names = {Serving: "serving.json", Underway: "rollout.json", Standby: "standby.json"}
        write_file(self._app.make_state() / names[type(state)], orjson.dumps(asdict(state)), mode=0o600)

    def finish(self) -> None:
        """No rollout is under way."""
        (self._app.state / "rollout.json").unlink(missing_ok=True)

    def end_standby(self) -> None:
        (self._app.state / "standby.json").unlink(missing_ok=True)

    def take_down(self) -> None:
        """Nothing runs any more. A database that is still to be restored stays so: what served cannot run without."""
        underway, serving = self.read_underway(), self.read_serving()
        if underway is None or underway.backup is None or (serving and serving.rollout == underway.rollout):
            self.finish()
        self.end_standby()
        if serving is not None:
            self.write(replace(serving, down=True))


def name_rollout() -> str:
    """Names a rollout; later ones sort after earlier ones, and so do the networks that are named after them."""
    now = time.time()
    return f"{time.strftime('%y%m%d%H%M%S', time.gmtime(now))}{int(now * 1000) % 1000:03}{secrets.token_hex(1)}"


def parse_rollout(network: str) -> str | None:
    """Parse the rollout that a network was made for; None for one that is none's."""
    found = _ROLLOUT.search(network)
    return found[1] if found else None


def _read(app: App, name: str, kind: type[T]) -> T | None:
    stored = app.read_state(name)
    if stored is None:
        return None
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()})
    except (TypeError, AttributeError) as error:
        raise app.make_unreadable(name, error) from error
