"""Releases: each deployment leaves an immutable record under the app's `.ikoma/releases/ID/`.

`compose.json` is the resolved compose file that runs, with the database's variables in it (0600), `compose.env` holds
what its configs and secrets take from variables (0600), and `release.json` says who deployed it, when, and how it
ended. `current` names the release that serves. A record whose state is still `started` while nobody holds the app's
lock is of a deploy that was killed; the next one says so.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps import compose_file, env_file, environment
from ikoma.apps.folder import App
from ikoma.apps.policy.facts import image_name
from ikoma.durable import write_file
from ikoma.errors import FileMissing, NotDeployed
from ikoma.model import ReleaseId
from ikoma.ports import VARIABLES_FILE, Endpoint

STARTED, SUCCEEDED, FAILED = "started", "succeeded", "failed"
_KEEP = 20
_GIVEN = "environment.json"
_PROCESSES = 1024
_LARGEST_DOCKERFILE = 1 << 20
_CACHES = "BUILDKIT_CACHE_MOUNT_NS"
"""The argument that sets apart what `RUN --mount=type=cache` keeps: else one app could change another's packages."""
_IGNORE = "x-ikoma-dockerignore"


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What one service was deployed as. Hashes are Compose's own, by which it tells changed services."""

    one_shot: bool
    config_hash: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    id: str
    caller: str
    started_at: str
    state: str = STARTED
    finished_at: str | None = None
    cause: str | None = None
    web: dict[str, Any] | None = None
    source_checksum: str = ""
    """Checksum of the resolved model the release was made of: tells whether the files have changed since."""
    services: dict[str, ServiceRecord] = field(default_factory=dict)
    commit: str | None = None
    """The commit that src/ came from, where it did."""

    @property
    def long_running(self) -> dict[str, ServiceRecord]:
        return {name: service for name, service in self.services.items() if not service.one_shot}


class Releases:
    """The releases of one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._folder = app.state / "releases"

    def open(self, release: Release, model: Mapping[str, Any], given: Mapping[str, str]) -> Path:
        """Record that a release begins; the path of its compose file.

        Args:
            given: the values that came from the app's .env and from the call.

        Called under the app's lock: a record that is still `started` is of a deploy that was killed.
        """
        for name in self._names():
            earlier = self._read(name)
            if earlier.state == STARTED:
                self.fail(earlier, "The deploy was interrupted: its server was stopped or killed.")
        variables = _variables(model, given)
        folder = self._app.make_state() / "releases" / release.id
        folder.mkdir(parents=True, mode=0o700)
        kept = _with_dockerfiles_in(folder, model)
        write_file(self.compose_file(release), orjson.dumps(kept, option=orjson.OPT_INDENT_2), mode=0o600)
        write_file(folder / VARIABLES_FILE, variables, mode=0o600)
        write_file(folder / _GIVEN, orjson.dumps(dict(given)), mode=0o600)
        self._write(release)
        return self.compose_file(release)

    def succeed(self, release: Release, services: Mapping[str, ServiceRecord]) -> Release:
        """Record that a release serves: from now on it is the current one."""
        ended = replace(release, state=SUCCEEDED, finished_at=now(), services=dict(services))
        self._write(ended)
        write_file(self._folder / "current", ended.id, mode=0o600)
        self._retire()
        return ended

    def fail(self, release: Release, cause: str) -> None:
        self._write(replace(release, state=FAILED, finished_at=now(), cause=cause))

    def current(self) -> Release | None:
        """The release that serves, or None before the first deploy."""
        try:
            identity = (self._folder / "current").read_text()
            return self._read(identity)
        except FileNotFoundError:
            return None

    def require_current(self) -> tuple[Release, Path]:
        """The release that serves, and its compose file."""
        release = self.current()
        if release is None:
            raise NotDeployed(f"{self._app.name} has not been deployed yet.")
        return release, self.compose_file(release)

    def compose_file(self, release: Release) -> Path:
        """The resolved compose file that runs."""
        return self._folder / release.id / "compose.json"

    def given(self, release: Release) -> dict[str, str]:
        """The values of .env and of the call that a release was made with."""
        try:
            return dict(orjson.loads((self._folder / release.id / _GIVEN).read_bytes()))
        except FileNotFoundError:
            return {}

    def recent(self) -> list[Release]:
        """Those whose containers may be running: the one that serves, and the newest."""
        return list({release.id: release for release in (self.current(), self.latest()) if release}.values())

    def all(self) -> list[Release]:
        """Every release that is kept, newest first."""
        return [self._read(name) for name in reversed(self._names())]

    def latest(self) -> Release | None:
        """The newest release, however it ended."""
        names = self._names()
        return self._read(names[-1]) if names else None

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(entry.name for entry in self._folder.iterdir() if (entry / "release.json").is_file())

    def _read(self, identity: str) -> Release:
        stored = orjson.loads((self._folder / identity / "release.json").read_bytes())
        services = {name: ServiceRecord(**record) for name, record in stored.pop("services").items()}
        return Release(services=services, **stored)

    def _write(self, release: Release) -> None:
        content = orjson.dumps(asdict(release), option=orjson.OPT_INDENT_2)
        write_file(self._folder / release.id / "release.json", content, mode=0o600)

    def _retire(self) -> None:
        current = self.current()
        for name in self._names()[:-_KEEP]:
            if current is None or name != current.id:
                shutil.rmtree(self._folder / name)


def _variables(model: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """The .env file of a release: only what its configs and secrets name, for Compose takes others as settings."""
    items = [item for kind in ("configs", "secrets") for item in (model.get(kind) or {}).values()]
    names = sorted({str(item["environment"]) for item in items if item and item.get("environment")})
    return "".join(f"{name}={env_file.written(given[name])}\n" for name in names if name in given)


def new_release(caller: str, model: Mapping[str, Any], *, commit: str | None) -> Release:
    """A release that begins now."""
    web = compose_file.web(model)
    one_shot = compose_file.one_shot_services(model)
    return Release(
        id=ReleaseId.new(),
        caller=caller,
        started_at=now(),
        web=asdict(web) if web else None,
        commit=commit,
        services={name: ServiceRecord(one_shot=name in one_shot) for name in model.get("services") or {}},
    )


def deployable(
    app: App,
    model: Mapping[str, Any],
    *,
    env: Mapping[str, str],
    database: Mapping[str, str],
    endpoint: Endpoint,
    memory: int,
) -> dict[str, Any]:
    """The model that runs: the resolved one, with what IKOMA adds to each service.

    Nothing that was checked is read again when it runs: Dockerfiles are a part of it.

    Args:
        model: the canonical model as Compose resolved it.
        env: further variables for every container, from the call.
        database: variables of the app's own database; they win over all others.
        endpoint: where containers reach PostgreSQL.
        memory: the limit in bytes of a service that names none.
    """
    result: dict[str, Any] = copy.deepcopy(dict(model))
    result["name"] = app.name.project
    one_shot = compose_file.one_shot_services(model)
    _name_images(app, result["services"])
    for name, service in result["services"].items():
        for read_already in ("env_file", "label_file"):
            service.pop(read_already, None)
        _limit(service, memory)
        if "build" in service:
            _freeze_dockerfile(app, service["build"])
        for mount in service.get("volumes") or []:
            if mount.get("type") == "bind":
                # The engine would make the folder, through whatever link is there by then: it is made here.
                mount["bind"] = {**(mount.get("bind") or {}), "create_host_path": False}
                app.make_folder(Path(mount["source"]))
        added = dict(env)
        if database and compose_file.uses_database(model, name):
            added |= database
            if endpoint.host_gateway:
                service["extra_hosts"] = [*_hosts(service), f"{endpoint.host}=host-gateway"]
        # A name without a value would get the value that it has where Compose runs.
        service["environment"] = _given(service.get("environment"))
        if "build" in service:
            service["build"]["args"] = _given(service["build"].get("args")) | {_CACHES: str(app.name)}
        if added:
            service["environment"] = {**(service.get("environment") or {}), **environment.escaped(added)}
        # Said in any case: an image may have such labels too.
        labels = {"ikoma.app": str(app.name), "ikoma.one-shot": "true" if name in one_shot else "false"}
        service["labels"] = {**(service.get("labels") or {}), **labels}
    return result


def _name_images(app: App, services: Mapping[str, Any]) -> None:
    """Images that are built here get names under the app's own, so that none can pass for another's."""
    built = {name: service for name, service in services.items() if "build" in service}
    names = {service["image"]: image_name(app.name, name) for name, service in built.items() if "image" in service}
    for name, service in services.items():
        if name in built:
            service["image"] = image_name(app.name, name)
        elif service.get("image") in names:
            service["image"] = names[service["image"]]


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _limit(service: dict[str, Any], memory: int) -> None:
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    if not int(service.get("mem_limit") or 0) and not int(limits.get("memory") or 0):
        service["mem_limit"] = str(memory)
    if not service.get("pids_limit") and not limits.get("pids"):
        service["pids_limit"] = _PROCESSES


def _freeze_dockerfile(app: App, build: dict[str, Any]) -> None:
    build.pop(_IGNORE, None)
    if "dockerfile_inline" not in build:
        path = Path(build["context"]) / (build.pop("dockerfile", None) or "Dockerfile")
        text = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
        build["dockerfile_inline"] = text.replace("$", "$$")
        with suppress(FileMissing):
            ignored = app.read_inside(path.with_name(f"{path.name}.dockerignore"), _LARGEST_DOCKERFILE)
            build[_IGNORE] = ignored.decode(errors="replace")


def _with_dockerfiles_in(folder: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    """The model with its Dockerfiles as files of the release: an engine without BuildKit knows no inline ones."""
    kept = copy.deepcopy(dict(model))
    for name, service in kept["services"].items():
        build = service.get("build") or {}
        if "dockerfile_inline" not in build:
            continue
        place = folder / f"build-{name}"
        place.mkdir(mode=0o700)
        build["dockerfile"] = str(place / "Dockerfile")
        write_file(place / "Dockerfile", build.pop("dockerfile_inline").replace("$$", "$"), mode=0o600)
        if _IGNORE in build:  # BuildKit looks for one beside the Dockerfile
            write_file(place / "Dockerfile.dockerignore", build.pop(_IGNORE), mode=0o600)
    return kept


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hosts(service: Mapping[str, Any]) -> Sequence[str]:
    hosts = service.get("extra_hosts") or []
    if isinstance(hosts, Mapping):
        return [f"{name}={address}" for name, address in hosts.items()]
    return list(hosts)
