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
from typing import TypeVar

import orjson

from ikoma.apps.app import App
from ikoma.durable import write_file
from ikoma.ports.engine import Container

T = TypeVar("T")

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

    def brings(self, container: Container) -> bool:
        """Whether a container is one that this rollout brings, and not one that is there anyway."""
        return container.id not in self.kept and (container.rollout == self.rollout or container.id in self.returned)


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


class RolloutState:
    """The state of one app."""

    def __init__(self, app: App) -> None:
        self._app = app

    def serving(self) -> Serving | None:
        return _read(self._app, "serving.json", Serving)

    def underway(self) -> Underway | None:
        return _read(self._app, "rollout.json", Underway)

    def standby(self) -> Standby | None:
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
        underway, serving = self.underway(), self.serving()
        if underway is None or underway.backup is None or (serving and serving.rollout == underway.rollout):
            self.finish()
        self.end_standby()
        if serving is not None:
            self.write(replace(serving, down=True))

    def starts(self, container: Container) -> str | None:
        """The release that a container is of, where a rollout has made it and it does not serve yet; else None."""
        underway, serving = self.underway(), self.serving()
        if underway is None or (serving is not None and serving.rollout == underway.rollout):
            return None
        return underway.release if underway.brings(container) else None

    def releases_of(self, container: Container) -> set[str]:
        """The releases that a container is of: which made it, and which it serves, is to serve or could serve again."""
        serving, standby = self.serving(), self.standby()
        found = {container.release, self.starts(container)}
        if serving is not None and self.serves(container):
            found.add(serving.release)
        if standby is not None and container.id in (*standby.containers, *standby.kept):
            found.add(standby.release)
        return {item for item in found if item is not None}

    def serves(self, container: Container) -> bool:
        """Whether a container is of what serves: not in standby, and of the one side or the other of a rollout."""
        underway, serving, standby = self.underway(), self.serving(), self.standby()
        if underway is not None and serving is not None and serving.rollout == underway.rollout:  # it has taken over
            return underway.brings(container) or container.id in underway.kept
        if standby is not None and container.id in standby.containers:
            return False
        return underway is None or not underway.brings(container)


def name_rollout() -> str:
    """Names a rollout; later ones sort after earlier ones, and so do the networks that are named after them."""
    now = time.time()
    return f"{time.strftime('%y%m%d%H%M%S', time.gmtime(now))}{int(now * 1000) % 1000:03}{secrets.token_hex(1)}"


def parse_rollout(network: str) -> str | None:
    """The rollout that a network was made for; None for one that is none's."""
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
