"""Releases: each deployment leaves an immutable record under the app's `.ikoma/releases/ID/`.

`model.json` is the resolved compose file as it was checked, `written.json` the compose files as they were written,
`environment.json` the variables they were made with (all 0600), `snapshot.json.gz` names the content of its source,
`tree/` is that content where containers mount it, and `release.json` says who deployed it, when, why and how it ended.
A record whose state is still `started` while nobody holds the app's lock is of a deploy that was killed; whoever holds
the lock next ends it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ikoma.app_folder import App, list_folder
from ikoma.apps.environment import editor
from ikoma.compose.compose_file import VARIABLES_FILE, Web
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.x_ikoma import Extension
from ikoma.durable import translate_disk_full, write_file
from ikoma.errors import DiskFull, NotDeployed, ReleaseNotFound
from ikoma.model import ReleaseId
from ikoma.moments import format_moment
from ikoma.rollout_state import RolloutState, Serving

T = TypeVar("T")

STARTED, SUCCEEDED, FAILED = "started", "succeeded", "failed"
_GIVEN, _MODEL, _RECORD, _TEXTS = "environment.json", "model.json", "release.json", "written.json"
_RENDERED = "compose.json"
_MOST_MODELS = 50
KEPT_LOGS = "logs.json"
"""The last lines of its containers; kept_logs.py writes it."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """The record of one service as it was deployed."""

    one_shot: bool
    configuration: str | None = None
    """Checksum of all that its containers are made of."""
    image: str | None = None
    """Id of the image that they run."""
    scale: int = 1
    is_job: bool = False
    """Whether it may end well, and its container be cleared away then."""


@dataclass(frozen=True, slots=True)
class Release:
    id: str
    caller: str
    started_at: str
    state: str = STARTED
    finished_at: str | None = None
    reason: str = ""
    """Why it was deployed, in the caller's words."""
    cause: str | None = None
    """Why it failed."""
    logs: tuple[str, ...] = ()
    """The last lines of the service that failed, without secrets."""
    answer: str = ""
    """The answer of its health path where it failed by that, without secrets."""
    answer_status: int | None = None
    """The HTTP status of that answer."""
    healthcheck: str = ""
    """The last words of its healthcheck where it failed by that, without secrets."""
    web: dict[str, Any] | None = None
    extension: dict[str, Any] = field(default_factory=dict)
    """The release's x-ikoma block."""
    services: dict[str, ServiceRecord] = field(default_factory=dict)
    commit: str | None = None
    """The commit that src/ came from, where it did."""
    ledger: tuple[dict[str, str], ...] = ()
    """The migrations that its database had: name, checksum and applied_at of each, in order."""
    applied: tuple[str, ...] = ()
    """The migrations among them that this deploy applied."""
    compatible: bool = True
    """Whether the release before can run with its database."""
    backup: str | None = None
    """The backup that was made before its migrations."""
    output: tuple[str, ...] = ()
    """The last lines of its release command, without secrets."""
    pinned: bool = False
    """Whether it is kept whatever its age."""
    served_at: str | None = None
    """The time when the release last began to serve."""

    @property
    def migrations(self) -> list[str]:
        """Names of the migrations that its database had."""
        return [entry["name"] for entry in self.ledger]

    @property
    def routed(self) -> Web | None:
        """The service that answers its requests; None where none does."""
        return Web(**self.web) if self.web else None

    @property
    def x_ikoma(self) -> Extension:
        """The wishes of its x-ikoma block."""
        return Extension(**self.extension)

    @property
    def images(self) -> dict[str, str]:
        """service → id of its image."""
        return {name: service.image for name, service in self.services.items() if service.image}

    @property
    def long_running(self) -> dict[str, ServiceRecord]:
        return {name: service for name, service in self.services.items() if not service.one_shot}

    def says_served_since(self, since: float) -> bool:
        """Whether it is recorded that it began to serve at that Unix time; not where its server was killed then."""
        recorded = datetime.fromisoformat(self.served_at).timestamp() if self.served_at else 0.0
        return self.state != STARTED and recorded >= int(since * 1000) / 1000

    def count_replicas(self, service: str) -> int:
        return self.services[service].scale if service in self.services else 1


class Releases:
    """The releases of one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._folder = app.state / "releases"

    def make_id(self) -> str:
        """Make an id for the next release: the newest one's sorts last."""
        return str(ReleaseId.new(max(self._list_names(), default=None)))

    def open(self, release: Release, model: ComposeModel, given: Mapping[str, str], texts: Mapping[str, str]) -> Path:
        """Record that a release begins; its folder.

        Args:
            model: what was checked, without the variables that only containers get.
            given: the values that came from the app's .env and from the call.
            texts: the compose files as they are written, the first of them first.

        Raises:
            DiskFull: then there is no such release.
        """
        folder = self.locate_folder(release.id)
        self._app.make_state()
        try:
            with translate_disk_full():
                folder.mkdir(parents=True, mode=0o700)
            write_file(folder / _MODEL, orjson.dumps(model.raw, option=orjson.OPT_INDENT_2), mode=0o600)
            write_file(folder / _TEXTS, orjson.dumps(dict(texts)), mode=0o600)
            write_file(folder / VARIABLES_FILE, _write_variables(model, given), mode=0o600)
            write_file(folder / _GIVEN, orjson.dumps(dict(given)), mode=0o600)
            self.write(release)
        except DiskFull:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.utime(folder.parent)  # whoever looked at it since the folder was made looks again
        return folder

    def succeed(self, release: Release) -> Release:
        """Record that a release serves."""
        ended = replace(
            release,
            state=SUCCEEDED,
            finished_at=release.finished_at or format_now(),
            served_at=format_now(),
            cause=None,
        )
        self.write(ended)
        return ended

    def fail(self, release: Release, cause: str, **seen: Any) -> None:
        """Record that a release never served, or was left.

        Args:
            seen: what was seen of that: fields of the record, such as its last lines.
        """
        self.write(replace(release, state=FAILED, finished_at=format_now(), cause=cause, **seen))

    def list_interrupted(self) -> list[Release]:
        """List releases that neither serve nor failed: under the app's lock, those of deploys that were killed."""
        return [item for item in self.list_all() if item.state == STARTED]

    def sweep(self) -> None:
        """Remove what is left of releases that have no record: they were not begun, or are forgotten already."""
        for folder in list_folder(self._folder):
            if not (folder / _RECORD).is_file():
                shutil.rmtree(folder)

    def find_current(self) -> Release | None:
        """The release that serves, or None before the first deploy."""
        return self.find_serving(RolloutState(self._app).read_serving())

    def find_serving(self, serving: Serving | None) -> Release | None:
        """The release of the rollout that serves."""
        if serving is None:
            return None
        try:
            return self._read(serving.release)
        except FileNotFoundError:
            return None

    def require_current(self) -> Release:
        """The release that serves, or did before it was taken down."""
        release = self.find_current() or self.find_last_good()
        if release is None:
            raise NotDeployed(f"{self._app.name} has not been deployed yet.")
        return release

    def find_last_good(self, other_than: str | None = None) -> Release | None:
        """Find the release that served last, besides one."""
        good = [
            item for item in self.list_all() if item.state == SUCCEEDED and item.served_at and item.id != other_than
        ]
        return max(good, key=lambda item: item.served_at or "", default=None)

    def find(self, identity: str) -> Release:
        """Find the release of that id; ReleaseNotFound where it was never made, or is not kept any more."""
        try:
            return self._read(identity)
        except FileNotFoundError:
            known = [item.id for item in self.list_all()][:5]
            hint = f"The newest are {', '.join(known)}." if known else "deploy.up makes the first."
            raise ReleaseNotFound(f"{self._app.name} has no release {identity}.", hint=hint) from None

    def locate_folder(self, identity: str) -> Path:
        return self._folder / identity

    def locate_compose_file(self, release: Release) -> Path:
        """The resolved compose file that runs."""
        return self._folder / release.id / _RENDERED

    def read_rendered(self, identity: str) -> ComposeModel | None:
        """Read the resolved compose file that runs; None where the release never came to have one."""
        stamp = self.read_model_stamp(identity, _RENDERED)
        return _read_model(self._app, f"releases/{identity}/{_RENDERED}", stamp)

    def read_model(self, identity: str) -> ComposeModel:
        """Read the model that was checked when the release of that id was made."""
        model = _read_model(self._app, f"releases/{identity}/{_MODEL}", self.read_model_stamp(identity))
        if model is None:
            raise ReleaseNotFound(f"The release {identity} is not complete: it never came to run.")
        return model

    def read_model_stamp(self, identity: str, name: str = _MODEL) -> tuple[int, int, int] | None:
        """Read what tells one file of a release's model from another: time, size, inode; None where there is none."""
        try:
            status = os.stat(f"{self._folder}/{identity}/{name}")
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def read_variables(self, release: Release) -> dict[str, str]:
        """Read the values of .env and of the call that a release was made with."""
        return self._app.read_state(f"releases/{release.id}/{_GIVEN}", dict[str, str]) or {}

    def read_texts(self, release: Release) -> dict[str, str]:
        """Read the compose files as they were written, by path; none of a release that an earlier version made."""
        return self._app.read_state(f"releases/{release.id}/{_TEXTS}", dict[str, str]) or {}

    def list_recent(self) -> list[Release]:
        """List the releases whose containers may be running: the one that serves, and the newest."""
        current = self.find_current()
        newest = next(self._iterate(*([current] if current else ())), None)
        return list({release.id: release for release in (current, newest) if release}.values())

    def list_all(self) -> list[Release]:
        """Every release that is kept, newest first."""
        return list(self._iterate())

    def find_latest(self) -> Release | None:
        """The newest release, however it ended."""
        return next(self._iterate(), None)

    def list_expired(self, keep: int, days: int, mounted: Collection[str]) -> list[Release]:
        """Releases that need not be kept: beyond a number and an age, neither in use, nor pinned, nor the last good.

        Args:
            mounted: ids of releases from which a container, perhaps of a later rollout, still has its files.
        """
        serving, standby = RolloutState(self._app).read_serving(), RolloutState(self._app).read_standby()
        used = {item.release for item in (serving, standby) if item} | set(mounted)
        last = self.find_last_good(other_than=serving.release if serving else None)
        oldest = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        return [
            item
            for number, item in enumerate(self.list_all())
            if (number >= keep or item.started_at < oldest)
            and item.id not in used
            and not item.pinned
            and (last is None or item.id != last.id)
        ]

    def remove(self, release: Release) -> None:
        """Forget a release: its record goes first, so that a half-removed one is none."""
        folder = self._folder / release.id
        (folder / _RECORD).unlink()
        shutil.rmtree(folder)

    def strip(self, identity: str) -> None:
        """Remove all of a release but its record and last lines: it never served, and never will."""
        for entry in self.locate_folder(identity).iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in (_RECORD, KEPT_LOGS):
                entry.unlink()

    def write(self, release: Release) -> None:
        content = orjson.dumps(asdict(release), option=orjson.OPT_INDENT_2)
        write_file(self._folder / release.id / _RECORD, content, mode=0o600)

    def _iterate(self, *known: Release) -> Iterator[Release]:
        """Read each release but those that are known, newest first; one that is removed meanwhile is passed over."""
        there = {release.id: release for release in known}
        for name in reversed(self._list_names()):
            release = there.get(name) or self._app.read_state(f"releases/{name}/{_RECORD}", _parse)
            if release is not None:
                yield release

    def _list_names(self) -> list[str]:
        # Without a Path for each: every line of progress asks for the newest one, to know its secrets.
        try:
            with os.scandir(self._folder) as entries:
                return sorted(entry.name for entry in entries if os.path.lexists(f"{entry.path}/{_RECORD}"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read(self, identity: str) -> Release:
        name = f"releases/{identity}/{_RECORD}"
        release = self._app.read_state(name, _parse)
        if release is None:
            raise FileNotFoundError(name)
        return release


def _parse(stored: dict[str, Any]) -> Release:
    services = {key: _make(ServiceRecord, record) for key, record in stored.pop("services").items()}
    return _make(Release, {**stored, "services": services})


def _make(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A record as it was written, also by an earlier version."""
    known = _list_fields(kind)  # type: ignore[arg-type]
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in known}
    )


@lru_cache(maxsize=_MOST_MODELS)
def _read_model(app: App, name: str, _: object) -> ComposeModel | None:
    """Read a model, once for each file: another one has another stamp, and nobody changes what is made of it."""
    return app.read_state(name, parse_model)


@cache
def _list_fields(kind: type[Any]) -> frozenset[str]:
    return frozenset(item.name for item in fields(kind))


def _write_variables(model: ComposeModel, given: Mapping[str, str]) -> str:
    """The .env file of a release: only what its configs and secrets name, for Compose takes others as settings."""
    items = [item for contents in model.contents.values() for item in contents.values()]
    names = sorted({str(item["environment"]) for item in items if item.get("environment")})
    return "".join(f"{name}={editor.write_value(given[name])}\n" for name in names if name in given)


def format_now() -> str:
    return format_moment(datetime.now(UTC), "milliseconds")
