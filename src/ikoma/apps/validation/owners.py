"""Findings of folders and files that a container mounts to write, and may not write as whom it runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ikoma.apps.compose_lines import Source
from ikoma.apps.folder import App
from ikoma.apps.new_folders import is_to_be_handed_over
from ikoma.apps.policy.facts import image_name, locate
from ikoma.apps.validation.finding import Finding
from ikoma.ports import Engine

_ROOT = ("", "0", "root")


async def find_unwritable(engine: Engine, app: App, source: Source, model: Mapping[str, Any]) -> list[Finding]:
    """What is there and belongs to somebody else; for images that are not here nothing can be said."""
    found = []
    for name, service in (model.get("services") or {}).items():
        mounts = [(index, mount) for index, mount in enumerate(service.get("volumes") or []) if _is_written(mount)]
        if not mounts:
            continue
        user = str(service.get("user") or await _user_of_image(engine, app, name, service))
        if user.partition(":")[0] in _ROOT:
            continue
        for index, mount in mounts:
            if (said := _unwritable(app, str(mount["source"]), user)) is not None:
                problem, fix = said
                found.append(Finding(*source.at("services", name, "volumes", index), f"{name} {problem}", fix))
    return found


def _is_written(mount: Mapping[str, Any]) -> bool:
    return mount.get("type") == "bind" and not mount.get("read_only")


async def _user_of_image(engine: Engine, app: App, name: str, service: Mapping[str, Any]) -> str:
    """Whom an image that is here runs as; of one that is built, as it was built last."""
    if "build" not in service:
        image = await engine.image(str(service.get("image")))
        return image.user if image else ""
    built = await engine.images(f"{image_name(app.name, name)}:")
    image = await engine.image(built[-1]) if built else None
    return image.user if image else ""


def _unwritable(app: App, mounted: str, user: str) -> tuple[str, str] | None:
    """Why somebody cannot write a path in the app's folder, and what to do."""
    path = locate(mounted).path
    if Path(os.path.realpath(app.path)) not in path.parents:
        return None
    try:
        status = path.lstat()
    except OSError:
        return None
    mode, (uid, _, gid) = stat.S_IMODE(status.st_mode), user.partition(":")
    is_folder = stat.S_ISDIR(status.st_mode)
    is_new = is_folder and is_to_be_handed_over(status, listed=False) and not any(path.iterdir())
    group_may = mode & 0o020 and gid in (str(status.st_gid), "")
    if mode & 0o002 or is_new or group_may or (str(status.st_uid) == uid) or (not uid.isdigit() and status.st_uid):
        return None
    shown, them = os.path.relpath(mounted, app.path), f"{status.st_uid}:{status.st_gid}"
    problem = f"runs as {user}, and {shown} belongs to {them} with mode {mode:o}: it cannot write there."
    if is_folder and not any(path.iterdir()):
        return problem, f"Remove the empty folder {shown}: the deploy makes it anew, for {user}."
    if not is_folder:
        return (
            problem,
            f"Write :ro at the end of the mount if it is only read; else, on the server: `chown {user} {path}`.",
        )
    return problem, f'Say `user: "{them}"` in the service; or, on the server: `chown -R {user} {path}`.'
