"""Adds to a resolved compose file what it does not say: names, limits, labels, and the app's own variables.

Nothing that was checked is read again when it runs: Dockerfiles become a part of the file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.variables import KEPT_AS, assign_database_variables
from ikoma.apps.environment import dotenv
from ikoma.apps.policy import fetched
from ikoma.apps.policy.images import read_arguments
from ikoma.apps.policy.storage import is_clock
from ikoma.compose.compose_file import map_to_this_machine
from ikoma.compose.image_names import name_image
from ikoma.compose.model import ComposeModel, Mount, parse_model
from ikoma.compose.new_folders import make_folders
from ikoma.compose.roles.jobs import find_jobs, is_judged_by_exit
from ikoma.durable import write_file
from ikoma.errors import FileMissing
from ikoma.ports.databases import Endpoint

_PROCESSES = 1024
_LARGEST_DOCKERFILE = 1 << 20
_CACHES = "BUILDKIT_CACHE_MOUNT_NS"
"""The argument that sets apart what `RUN --mount=type=cache` keeps: else one app could change another's packages."""
_IGNORE = "x-ikoma-dockerignore"


def freeze(
    app: App,
    model: ComposeModel,
    *,
    env: Mapping[str, str],
    memory: int,
    variables: Mapping[str, str] | None = None,
) -> ComposeModel:
    """The model of a release: the resolved one, with all that is the same each time it runs.

    Nothing that was checked is read again when it runs: Dockerfiles are a part of it.

    Args:
        model: the canonical model as Compose resolved it.
        env: further variables for every container, from the call.
        memory: the limit in bytes of a service that names none.
        variables: what the app's .env sets, as Compose read it for the model.
    """
    variables = dotenv.read_written(app) if variables is None else variables
    result = model.copy_raw()
    result["name"] = app.name.project
    kinds = dict.fromkeys(model.one_shot, "true")
    for name in find_jobs(model):
        kinds[name] = "task" if is_judged_by_exit(model.services[name]) else "job"
    for name, service in result["services"].items():
        for read_already in ("env_file", "label_file"):
            service.pop(read_already, None)
        _limit(service, memory)
        if "build" in service:
            _freeze_dockerfile(app, service["build"])
            service["build"]["args"] = _drop_unset(service["build"].get("args")) | {_CACHES: str(app.name)}
        mounts = model.services[name].mounts
        service["volumes"] = [_freeze_mount(mount) for mount in mounts if not is_missing_clock(mount)]
        # A name without a value would get the value that it has where Compose runs.
        service["environment"] = _drop_unset(service.get("environment"))
        service["environment"] |= dotenv.escape(env)
        # Said in any case: an image may have such labels too.
        labels = {"ikoma.app": str(app.name), "ikoma.one-shot": kinds.get(name, "false")}
        service["labels"] = {**(service.get("labels") or {}), **labels}
    # Now, since the .env of today says where its values come from: when the release runs again, it may be another.
    # And before the names of images change, which tell what is a database.
    for name, gift in assign_database_variables(parse_model(result), variables).items():
        result["services"][name][KEPT_AS] = dict(gift.names)
    _name_images(app, result["services"])
    return parse_model(result)


def is_missing_clock(mount: Mount) -> bool:
    """Whether a mount is of a file that says which time it is, which this server has not: it goes without."""
    return mount.is_bind and is_clock(mount.source) and not Path(mount.source).exists()


def inject(app: App, model: ComposeModel, endpoint: Endpoint) -> ComposeModel:
    """The model that runs: that of a release, with what its containers need here and now.

    Args:
        model: a model that `freeze` made.
        endpoint: where containers reach PostgreSQL.
    """
    make_folders(app, model)
    return inject_database(app, model, endpoint)


def inject_database(app: App, model: ComposeModel, endpoint: Endpoint) -> ComposeModel:
    """The model with the variables of the app's own database, for those services that are to have them."""
    owned = credentials.find(app)
    parts = credentials.list_parts(owned, endpoint) if owned else {}
    result = model.copy_raw()
    of_now = assign_database_variables(model, dotenv.read_written(app))  # for releases of before it was kept
    for name, service in result["services"].items():
        names = service.pop(KEPT_AS, of_now[name].names)
        if parts and names:
            service["environment"] |= dotenv.escape({key: parts[part] for key, part in names.items()})
            if endpoint.on_this_machine:
                service["extra_hosts"] = [*_list_hosts(service), map_to_this_machine(endpoint.host)]
    return parse_model(result)


def _freeze_mount(mount: Mount) -> dict[str, Any]:
    if not mount.is_bind:
        return dict(mount.raw)
    # The engine would make the folder, through whatever link is there by then: it is made here.
    return {**mount.raw, "bind": {**(mount.raw.get("bind") or {}), "create_host_path": False}}


def _name_images(app: App, services: Mapping[str, Any]) -> None:
    """Images that are built here get names under the app's own, so that none can pass for another's."""
    built = {name: service for name, service in services.items() if "build" in service}
    names = {service["image"]: name_image(app.name, name) for name, service in built.items() if "image" in service}
    for name, service in services.items():
        if name in built:
            service["image"] = name_image(app.name, name)
        elif service.get("image") in names:
            service["image"] = names[service["image"]]


def _drop_unset(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _limit(service: dict[str, Any], memory: int) -> None:
    """Fill in the limits that are not named. Where `deploy` names some Compose takes all from there."""
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits")
    memory_key, processes_key = ("mem_limit", "pids_limit") if limits is None else ("memory", "pids")
    place = service if limits is None else limits
    if not int(service.get("mem_limit") or 0) and not int(place.get(memory_key) or 0):
        place[memory_key] = str(memory)
    if not service.get("pids_limit") and not place.get(processes_key):
        place[processes_key] = _PROCESSES


def _freeze_dockerfile(app: App, build: dict[str, Any]) -> None:
    build.pop(_IGNORE, None)
    if "dockerfile_inline" not in build:
        path = Path(build["context"]) / (build.pop("dockerfile", None) or "Dockerfile")
        text = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
        build["dockerfile_inline"] = text.replace("$", "$$")
        with suppress(FileMissing):
            ignored = app.read_inside(path.with_name(f"{path.name}.dockerignore"), _LARGEST_DOCKERFILE)
            build[_IGNORE] = ignored.decode(errors="replace")
    plain = build["dockerfile_inline"].replace("$$", "$")
    build["dockerfile_inline"] = fetched.rewrite(plain, read_arguments(build)).replace("$", "$$")


def write_dockerfiles(folder: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    """A file for builds with Dockerfiles as files beside it: an engine without BuildKit knows no inline ones."""
    kept = copy.deepcopy(dict(model))
    for name, service in kept["services"].items():
        build = service.get("build") or {}
        if "dockerfile_inline" not in build:
            continue
        place = folder / f"build-{name}"
        place.mkdir(mode=0o700, exist_ok=True)  # images of a release may be made again
        build["dockerfile"] = str(place / "Dockerfile")
        write_file(place / "Dockerfile", build.pop("dockerfile_inline").replace("$$", "$"), mode=0o600)
        if _IGNORE in build:  # BuildKit looks for one beside the Dockerfile
            write_file(place / "Dockerfile.dockerignore", build.pop(_IGNORE), mode=0o600)
    return kept


def _list_hosts(service: Mapping[str, Any]) -> Sequence[str]:
    hosts = service.get("extra_hosts") or []
    if isinstance(hosts, Mapping):
        return [f"{name}={address}" for name, address in hosts.items()]
    return list(hosts)
