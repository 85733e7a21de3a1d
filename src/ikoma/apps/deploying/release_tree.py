"""Makes a release's copy of the app's source, and finds it again.

Beside the copy a release keeps `dotenv`, the .env that a service mounts, and `marks.json`, checksums of data that a
person deploys too: a service is replaced where that has changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from ikoma.app_folder import App
from ikoma.apps.deploying.written_files import continue_files, find_not_taken
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.rollouts.release_contents import ReleaseContents
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot
from ikoma.apps.snapshots.snapshot import Snapshots
from ikoma.apps.source.changes import compute_marks
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources, find_sources, list_deployed_data
from ikoma.compose.paths import locate
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.durable import write_file
from ikoma.errors import FileMissing

SQL = ("migrations", "seeds")
"""Folders that are part of a release though no container reads them."""
_DOTENV, _MARKS = "dotenv", "marks.json"
_LARGEST_ENV = 1 << 20


def place_new(
    app: App, release: Release, model: ComposeModel, earlier: Release | None, in_use: Sequence[str]
) -> ReleaseContents:
    """Keep the source as it is now, and make the release's copy of it.

    Args:
        in_use: ids of the releases whose copies containers have, or had last; the newest first.
    """
    releases = Releases(app)
    found, folder = find_sources(app, model, besides=SQL), releases.locate_folder(release.id)
    known = releases.locate_folder(earlier.id) / MANIFEST if earlier else None
    taken = Snapshots(app).take(found.paths, folder / MANIFEST, known, data=found.left_out)
    if marks := mark_data(app, model, found):
        write_file(folder / _MARKS, orjson.dumps(marks), mode=0o600)
    if dotenv := read_dotenv(app, model):
        write_file(folder / _DOTENV, dotenv, mode=0o600)
    return _place(app, release, taken, found, in_use)


def place_again(
    app: App, release: Release, model: ComposeModel, images: Mapping[str, str], in_use: Sequence[str]
) -> ReleaseContents:
    """Find the copy of a release that was made before, or make it of what was kept."""
    taken = Snapshot.read(Releases(app).locate_folder(release.id) / MANIFEST, app.path)
    found = find_sources(app, model, besides=SQL)
    left = find_not_taken(taken, found)
    found = replace(
        found,
        paths=tuple(path for path in found.paths if path not in left),
        writable=tuple(path for path in found.writable if path not in left),
        data=(*found.data, *left),
    )
    return replace(_place(app, release, taken, found, in_use), images=images)


def share_source(app: App, earlier: Release, into: Path) -> None:
    """Give a release the source of another one.

    Raises:
        FileNotFoundError: that one has none.
    """
    folder = Releases(app).locate_folder(earlier.id)
    Snapshots(app).share(folder / MANIFEST, into / MANIFEST)
    for name in (_DOTENV, _MARKS):
        if (folder / name).is_file():
            os.link(folder / name, into / name)


def mark_data(app: App, model: ComposeModel, found: Sources) -> dict[str, str]:
    """Checksums of data that a person deploys too, by path in the app's folder."""
    root = Path(os.path.realpath(app.path))
    return {
        str(path.relative_to(root)): compute_marks(root, [path], [item for item in found.data if item != path])
        for path in list_deployed_data(app, model, found)
    }


def read_dotenv(app: App, model: ComposeModel) -> bytes:
    """Read the app's .env as it is now, where a service mounts it."""
    place = Path(os.path.realpath(app.path)) / app.env_file.name
    if all(locate(mount.source).path != place for mount in model.binds):
        return b""
    try:
        return app.read_inside(app.env_file, _LARGEST_ENV)
    except FileMissing:
        return b""


def read_kept_dotenv(app: App, release: Release) -> bytes:
    """Read the .env that a release was made with, where a service of it mounts it."""
    try:
        return (Releases(app).locate_folder(release.id) / _DOTENV).read_bytes()
    except FileNotFoundError:
        return b""


def read_kept_marks(app: App, release: Release) -> dict[str, str]:
    """Checksums of data that a release was made with."""
    return dict(app.read_state(f"releases/{release.id}/{_MARKS}") or {})


def _place(app: App, release: Release, taken: Snapshot, found: Sources, in_use: Sequence[str]) -> ReleaseContents:
    folder = ReleaseFolder.locate(app, release.id, found)
    if not folder.tree.is_dir():
        Snapshots(app).materialise(taken, folder.tree, writable=found.writable)
        continue_files(app, release.id, taken, found, in_use)
    return ReleaseContents(
        folder,
        {},
        Releases(app).read_variables(release),
        taken.compute_digest,
        read_kept_dotenv(app, release),
        read_kept_marks(app, release),
    )
