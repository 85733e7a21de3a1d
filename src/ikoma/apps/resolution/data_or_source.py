"""Says of each folder and file that an app mounts or builds from whether it is source or data, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources, find_sources
from ikoma.compose.paths import locate

SOURCE, DATA = "source", "data"


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a path in the app's folder. One that images are built from and containers write is both."""

    path: str
    kind: str
    reason: str


def list_kinds(app: App, model: ComposeModel) -> Sequence[Kind]:
    """The kind of each path that a resolved model mounts or builds from, sorted by path."""
    root = Path(os.path.realpath(app.path))
    found = find_sources(app, model)
    return sorted(
        {*_find_mounted(root, model, found), *_find_build_sources(root, model)}, key=lambda item: (item.path, item.kind)
    )


def _find_mounted(root: Path, model: ComposeModel, found: Sources) -> Iterator[Kind]:
    writers: dict[Path, list[str]] = {}
    for name, service in model.services.items():
        for mount in service.binds:
            written = writers.setdefault(locate(mount.source).path, [])
            written += [] if mount.read_only else [name]
    for path, names in writers.items():
        if root not in path.parents:
            continue
        shown, by = str(path.relative_to(root)), " and ".join(dict.fromkeys(names))
        if path == root / ".env":
            yield Kind(shown, SOURCE, "the release's own is mounted")
        elif not found.holds(path):
            yield Kind(shown, DATA, f"{by} may write it" if by else "it lies in data, or x-ikoma names it in data")
        elif not by:
            below = any(item in path.parents for item in found.data)
            yield Kind(
                shown, SOURCE, "it is only read; a copy, because it lies in data" if below else "it is only read"
            )
        elif any(root / folder in (path, *path.parents) for folder in model.x_ikoma.source):
            yield Kind(shown, SOURCE, f"x-ikoma says so; what {by} may write in it goes with the release")
        else:
            yield Kind(shown, SOURCE, f"it is a single file; what {by} may write goes on in the next release")


def _find_build_sources(root: Path, model: ComposeModel) -> Iterator[Kind]:
    for build in model.builds:
        context = Path(os.path.realpath(build.context or "/"))
        if root in (context, *context.parents):
            yield Kind(str(context.relative_to(root)), SOURCE, "images are built from it")
