"""Rules on what a service mounts, and on the volumes, configs and secrets it mounts them from."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ikoma.app_folder import COMPOSE_NAMES, OVERRIDE_NAMES
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy.containers import HARMLESS_DEVICES, check_labels
from ikoma.apps.policy.images import check_reference, make_outside_violation
from ikoma.apps.yaml.violation import Place, Violation
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources, find_sources
from ikoma.compose.paths import locate
from ikoma.compose.x_ikoma import SOURCE
from ikoma.errors import InvalidCompose

_SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock", "dockershim.sock", "buildkitd.sock")
_SOCKET_FOLDERS = frozenset(
    Path(path) for path in ("/var/run", "/run", "/run/docker", "/run/containerd", "/run/podman", "/run/user")
)
_DEEPEST = 50
_MOST_MOUNTS, _MOST_TOGETHER = 200, 1000
_PRIVATE = ("", "private", "rprivate")
_MOUNT = frozenset(("type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"))
_BIND = frozenset(("propagation", "selinux", "create_host_path", "recursive"))
_VOLUME = frozenset(("name", "driver", "driver_opts", "external", "labels"))
_OWN_FILES = (".env", *COMPOSE_NAMES, *OVERRIDE_NAMES)
_DEVICES = Path("/dev")
_ZONES = "/usr/share/zoneinfo"
CLOCK = ("/etc/localtime", "/etc/timezone", _ZONES)
"""Files that tell the time where the server stands: the same on every server, and no secret."""
_INSTEAD_OF_CLOCK = "Mount it read-only: write :ro at the end of the mount."
_INSTEAD_OF_WRITABLE = (
    "Mount it read-only: write :ro at the end of the mount. Its containers then have the release's own."
)
_INSTEAD_OF_ALL = "Mount what is needed of it: ./src, other folders, and single files read_only."
_INSTEAD_OF_MANY = "Mount the folders that they lie in."
_INSTEAD_OF_READ = (
    "Mount it read_only, or keep what the container writes in another folder, such as ./data; where {} is source, "
    "and what the container writes there may go with each release, say so: `x-ikoma: {{source: [{}]}}`."
)
_INSTEAD_OF_WRITTEN = "Keep it in a folder that no container writes; or stop the app with deploy.down first."
_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CONTENT = frozenset(("name", "file", "content", "environment", "labels"))


def _check_mounts(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, mount in enumerate(value):
        inside = (*place, index)
        kind = mount.get("type")
        for name in mount:
            if name not in _MOUNT and not name.startswith("x-"):
                yield Violation("unknown-key", (*inside, name), f"{name} is not allowed.")
        yield from _check_bind_options(inside, mount.get("bind") or {})
        if kind == "bind":
            yield from _check_source(facts, inside, str(mount.get("source")), writable=not mount.get("read_only"))
        elif kind == "image":
            yield from check_reference(facts, inside, str(mount.get("source")))
        elif kind not in ("volume", "tmpfs"):
            yield Violation("volume-driver", inside, f"{kind} is no plain volume.")
        yield from check_labels(facts, (*inside, "volume", "labels"), (mount.get("volume") or {}).get("labels") or {})


def _check_bind_options(place: Place, options: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the bind options of any mount: Compose hands them on for volumes as well."""
    if options.get("propagation", "") not in _PRIVATE:
        yield Violation("bind-propagation", place, f"The mount is {options['propagation']}.")
    for name in options:
        if name not in _BIND:
            yield Violation("unknown-key", (*place, "bind", name), f"{name} is not allowed.")


def _check_source(facts: HostFacts, place: Place, source: str, *, writable: bool) -> Iterator[Violation]:
    path = locate(source).path
    if source in HARMLESS_DEVICES or (is_clock(source) and not writable):
        return
    if path.name in _SOCKETS or Path(source).name in _SOCKETS or path in _SOCKET_FOLDERS:
        yield Violation("docker-socket", place, f"{source} is, or holds, the engine's socket.")
    elif _is_special(path):
        yield Violation("special-file", place, f"{source} is neither a file nor a folder.")
    elif not facts.is_inside(path):
        instead = _INSTEAD_OF_CLOCK if is_clock(source) else None
        yield replace(make_outside_violation(facts, "bind-outside", place, source), instead=instead)
    elif path.relative_to(facts.root).parts[:1] == ("~",):  # where no HOME is set Compose takes it for a name
        yield Violation("bind-outside", place, "~ is a home folder of the server.", waivable=False)
    elif path == facts.root:
        yield Violation("own-state", place, f"{source} is the app's whole folder.", instead=_INSTEAD_OF_ALL)
    elif facts.is_state(path):
        yield Violation("own-state", place, f"{source} holds IKOMA's own records.")
    elif writable and path.parent == facts.root and path.name in _OWN_FILES:
        yield Violation("own-state", place, f"{path.name} is mounted writable.", instead=_INSTEAD_OF_WRITABLE)


def is_clock(source: str) -> bool:
    """Whether a path is one of the files that say which time it is, written as it is."""
    if source in CLOCK:
        return True
    path = Path(source)
    return Path(_ZONES) in path.parents and os.path.normpath(source) == source and locate(source).path == path


def _is_special(path: Path) -> bool:
    if path == _DEVICES or _DEVICES in path.parents:
        return True
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read_files(model: ComposeModel, facts: HostFacts, copied: Sources) -> Iterator[Violation]:
    """Find what Compose reads and a container writes: the container would have a say in what runs next.

    What is mounted from a copy of the release's own changes nothing in the folder.
    """
    for place, source, writable in _list_binds(model):
        path = locate(source).path
        if not writable or not facts.is_inside(path) or facts.is_state(path):
            continue
        if copied.holds(path) and (path.relative_to(facts.root).parts[0] in SOURCE or not path.is_file()):
            continue
        if path.parent == facts.root and path.name in _OWN_FILES:  # that is said already
            continue
        if any(path == file.path or path in file.passed for file in facts.find_files()):
            what = f"{source} is, or holds, a file that the compose file is read with, and is mounted writable."
            folder = path.relative_to(facts.root)
            instead = _INSTEAD_OF_READ.format(folder, folder)
            yield Violation("own-state", place, what, instead=instead, because=str(path))
    for file in facts.find_files() if facts.writable else ():
        if not file.passed.isdisjoint(facts.writable) or file.path in facts.writable:
            what = f"{os.path.relpath(file.path, facts.root)} is read with the compose file, and a container writes it."
            yield Violation("own-state", (), what, instead=_INSTEAD_OF_WRITTEN)


def find_nested(model: ComposeModel, facts: HostFacts, copied: Sources) -> Iterator[Violation]:
    """Sources on whose way lies a folder that a container may write: it could make a link to anywhere of them.

    What is mounted read-only from a copy may lie there: the copy is made without following links.
    """
    read_only = {place for place, _, writable in _list_binds(model) if not writable}
    for violation, path, above in _find_below_written(model, facts):
        is_inside = all(folder in path.parents and folder not in copied.writable for folder in above)
        if violation.place not in read_only or not copied.holds(path) or not is_inside:
            yield violation


def find_swapped(model: ComposeModel, facts: HostFacts) -> Iterator[Violation]:
    """Mounts, as they are made, on whose way lies a folder that a container may write."""
    yield from (violation for violation, _, _ in _find_below_written(model, facts))


def _find_below_written(model: ComposeModel, facts: HostFacts) -> Iterator[tuple[Violation, Path, set[Path]]]:
    """Find what lies below folders that containers may write, with where it leads and these folders."""
    writable = {*list_writable_folders(model), *facts.writable} - {facts.root}
    for place, source in _list_sources(model):
        located = locate(source)
        if above := located.passed & writable:
            what = f"{source} lies below {min(above)}, which a container may write."
            yield Violation("bind-nested", place, what, because=str(min(above))), located.path, above


def find_copied(model: ComposeModel, facts: HostFacts) -> Sources:
    """Find what a release has copies of; nothing where the file says nonsense, which is refused by itself."""
    try:
        return find_sources(facts.app, model)
    except InvalidCompose:
        return Sources((), ())


def check_depth(model: ComposeModel) -> Iterator[Violation]:
    """Paths whose every folder would have to be looked at, which takes too long."""
    for place, source in _list_sources(model):
        if source.count("/") > _DEEPEST:
            yield Violation("too-large", place, f"The path lies in more than {_DEEPEST} folders.")


def check_mount_count(model: ComposeModel) -> Iterator[Violation]:
    """Mounts that would take too long to look at, for each is compared with the others."""
    together = 0
    for name, service in model.services.items():
        number = len(service.mounts)
        together += number
        if number > _MOST_MOUNTS:
            what = f"The service has more than {_MOST_MOUNTS} mounts."
            yield Violation("too-large", ("services", name, "volumes"), what, instead=_INSTEAD_OF_MANY)
    if together > _MOST_TOGETHER:
        what = f"The services have more than {_MOST_TOGETHER} mounts together."
        yield Violation("too-large", ("services",), what, instead=_INSTEAD_OF_MANY)


def _list_sources(model: ComposeModel) -> Iterator[tuple[Place, str]]:
    """Every path that the containers or builds of a model use."""
    contexts = (
        (("services", name, "build"), context)
        for name, service in model.services.items()
        if (build := service.build) is not None
        for context in (build.context, *build.additional_contexts.values())
        if context.startswith("/")
    )
    files = (
        ((kind, name, "file"), item["file"])
        for kind, items in model.contents.items()
        for name, item in items.items()
        if item.get("file")
    )
    binds = ((place, source) for place, source, _ in _list_binds(model))
    yield from (*binds, *contexts, *files)


def _list_binds(model: ComposeModel) -> Iterator[tuple[Place, str, bool]]:
    for name, service in model.services.items():
        for index, mount in enumerate(service.mounts):
            if mount.is_bind:
                yield ("services", name, "volumes", index), mount.source, not mount.read_only


def list_writable_folders(model: ComposeModel) -> tuple[Path, ...]:
    """List what the containers of a deployed model may write."""
    return tuple(locate(source).path for source in list_writable_sources(model))


def list_writable_sources(model: ComposeModel) -> tuple[str, ...]:
    """List the sources of what containers may write, as the model names them: links lead where they lead now."""
    return tuple(source for _, source, writable in _list_binds(model) if writable)


def check_volumes(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for key, volume in value.items():
        inside = (*place, key)
        for name in volume or {}:
            if name not in _VOLUME and not name.startswith("x-"):
                yield Violation("unknown-key", (*inside, name), f"{name} is not allowed.")
        if not volume:
            continue
        if options := volume.get("driver_opts"):
            device = str(options.get("device") or "")
            if device.startswith("/") and facts.is_platforms(locate(device).path):
                yield make_outside_violation(facts, "volume-driver", (*inside, "driver_opts"), device)
            else:
                yield Violation("volume-driver", (*inside, "driver_opts"), "The volume has options of its driver.")
        if (volume.get("driver") or "local") != "local":
            yield Violation("volume-driver", (*inside, "driver"), f"The driver is {volume['driver']}.")
        name = str(volume.get("name") or key)
        if not facts.may_be_named(name):
            what, others = f"The volume {name} is not this app's.", facts.is_others(name)
            instead = None if others else _explain_own_volume(facts, key, name)
            yield Violation("foreign-volume", inside, what, waivable=not others, instead=instead)
        yield from check_labels(facts, (*inside, "labels"), volume.get("labels") or {})


def _explain_own_volume(facts: HostFacts, key: str, name: str) -> str | None:
    """The way to a volume of the app's own with what is in this one."""
    project = facts.app.name.project
    if name not in facts.owners:
        return "There is no such volume. Leave `external` and `name` out: the app then gets one of its own."
    if not _VOLUME_NAME.fullmatch(name) or not _VOLUME_NAME.fullmatch(key):
        return None
    command = facts.engine.word_volume_command(project, key, f"{project}_{key}")
    return (
        "Leave `external` and `name` out, and bring over what it holds before the first deploy: "
        f"`{command}` and "
        f"`docker run --rm -v {name}:/from:ro -v {project}_{key}:/to busybox cp -a /from/. /to/`."
    )


def check_contents(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """Top-level configs and secrets."""
    for key, item in value.items():
        inside = (*place, key)
        for name in item or {}:
            if name in ("external", "driver", "driver_opts", "template_driver"):
                if item[name]:
                    yield Violation("external-config", (*inside, name), f"{name} brings it from elsewhere.")
            elif name not in _CONTENT and not name.startswith("x-"):
                yield Violation("unknown-key", (*inside, name), f"{name} is not allowed.")
        if item and item.get("file"):
            path = locate(item["file"]).path
            if not facts.is_inside(path) or facts.is_state(path) or _is_special(path):
                yield Violation("reads-outside", (*inside, "file"), f"{item['file']} is no file of the app's own.")


CHECKS: Mapping[str, Any] = {"volumes": _check_mounts}
