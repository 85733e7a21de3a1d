"""Findings of folders, volumes and files that a container mounts to write, and may not write as whom it runs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ikoma.app_folder import App, is_empty_folder
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.dockerfiles import find_stage, read_dockerfiles
from ikoma.compose.image_names import name_image
from ikoma.compose.model import ComposeModel, Mount, Service
from ikoma.compose.new_folders import is_to_be_handed_over
from ikoma.compose.paths import locate
from ikoma.ports.images import Images

_ROOT = ("", "0", "root")

_New = tuple[str, str]
"""(folder or volume, its name)."""


async def find_unwritable(
    images: Images, app: App, source: Source, model: ComposeModel, existing: Collection[str]
) -> list[Finding]:
    """Find mounts that belong to somebody else, and new ones for two users; nothing where the user is not known.

    Args:
        existing: names of all volumes that are there.
    """
    found, wanted = [], dict[_New, dict[str, tuple[str, int]]]()
    dockerfiles = await asyncio.to_thread(read_dockerfiles, app, model)
    for name, service in model.services.items():
        mounts = [(index, mount) for index, mount in enumerate(service.mounts) if _is_written(mount)]
        if not mounts:
            continue
        user = service.user or await _find_user_of_image(images, app, service, dockerfiles.get(name, ""))
        if user.partition(":")[0] in _ROOT:
            continue
        for index, mount in mounts:
            if (new := _find_new(app, model, mount, existing)) is not None:
                wanted.setdefault(new, {}).setdefault(name, (user, index))
            elif mount.is_bind and (said := _explain_unwritable(app, mount.source, user)) is not None:
                problem, fix = said
                found.append(Finding(*source.locate("services", name, "volumes", index), f"{name} {problem}", fix))
    return [*found, *(item for new, users in wanted.items() for item in _find_shared(source, new, users))]


def _is_written(mount: Mount) -> bool:
    return (mount.is_bind or mount.is_volume) and not mount.read_only and bool(mount.source)


def _find_new(app: App, model: ComposeModel, mount: Mount, existing: Collection[str]) -> _New | None:
    """The folder or volume of a mount, where the deploy makes it."""
    if mount.is_volume:
        volume = model.volumes.get(mount.source, {})
        name = str(volume.get("name") or f"{app.name.project}_{mount.source}")
        return None if name in existing or volume.get("external") else ("volume", mount.source)
    path = locate(mount.source).path
    root = Path(os.path.realpath(app.path))
    return None if os.path.lexists(path) or root not in path.parents else ("folder", str(path.relative_to(root)))


def _find_shared(source: Source, new: _New, users: Mapping[str, tuple[str, int]]) -> Iterator[Finding]:
    """Warn where services of more than one user write what is made for the first of them."""
    kind, place = new
    if len({user.partition(":")[0] for user, _ in users.values()}) < 2:
        return
    *_, (name, (_, index)) = users.items()
    *others, last = (f"{service} (as {user})" for service, (user, _) in users.items())
    them = f"{', '.join(others)} and {last}"
    problem = f"The {kind} {place} is new, and {them} write to it: it will belong to one, and no other can write there."
    fix = f"Give them the same `user:`, or each a {kind} of its own; nothing is to do if these are names of one user."
    yield Finding(*source.locate("services", name, "volumes", index), problem, fix)


async def _find_user_of_image(images: Images, app: App, service: Service, dockerfile: str) -> str:
    """Tell whom an image runs as, if it is here; one that is built: by its Dockerfile, or as it was built last."""
    if service.build is None:
        image = await images.find(service.image)
        return image.user if image else ""
    stage = find_stage(service.build, dockerfile)
    if stage.user:
        return stage.user
    if stage.base and stage.base != "scratch" and (image := await images.find(stage.base)) is not None:
        return image.user
    built = await images.list_names(f"{name_image(app.name, service.name)}:")
    image = await images.find(built[-1]) if built else None
    return image.user if image else ""


def _explain_unwritable(app: App, mounted: str, user: str) -> tuple[str, str] | None:
    """The reason why somebody cannot write a path in the app's folder, and what to do."""
    path = locate(mounted).path
    if Path(os.path.realpath(app.path)) not in path.parents:
        return None
    try:
        status = path.lstat()
    except OSError:
        return None
    mode, (uid, _, gid) = stat.S_IMODE(status.st_mode), user.partition(":")
    is_folder = stat.S_ISDIR(status.st_mode)
    is_new = is_folder and is_to_be_handed_over(status, listed=False) and is_empty_folder(path)
    group_may = mode & 0o020 and gid in (str(status.st_gid), "")
    if mode & 0o002 or is_new or group_may or (str(status.st_uid) == uid) or (not uid.isdigit() and status.st_uid):
        return None
    shown, them = os.path.relpath(mounted, app.path), f"{status.st_uid}:{status.st_gid}"
    whom, unless = (f"{user}, whoever that is", " unless that is root") if "$" in user else (user, "")
    problem = f"runs as {whom}, and {shown} belongs to {them} with mode {mode:o}: it cannot write there{unless}."
    if is_empty_folder(path):
        return problem, f"Remove the empty folder {shown}: the deploy makes it anew, for {user}."
    owner = user if uid.isdigit() else "UID"
    number = "" if uid.isdigit() or "$" in user else f", where UID is the number of {uid} in the image"
    if not is_folder:
        read_only = "Write :ro at the end of the mount if it is only read"
        return problem, f"{read_only}; else, on the server: `chown {owner} {path}`{number}."
    return problem, f'Say `user: "{them}"` in the service; or, on the server: `chown -R {owner} {path}`{number}.'
