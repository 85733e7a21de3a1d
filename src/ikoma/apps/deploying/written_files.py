"""Single files that containers may write: a release's own copy, which goes on in the next release.

A file has two sides. What stands in the app's folder is the person's: a release that finds it changed begins with it,
and an earlier release has the earlier one still. What containers write is in the release's copy, and is not lost where
the person's side is the same: both releases then have one file, by a hard link, so that not even what is written
during a rollout is missed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.releases.release import Releases
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot, compute_file_digest
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import TREE

_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


def continue_files(app: App, release: str, taken: Snapshot, source: Sources, in_use: Sequence[str]) -> None:
    """Let the copies of a new release that containers may write be those of the releases before.

    Args:
        taken: the snapshot of the new release, whose tree is there already.
        in_use: ids of the releases whose copies containers have, or had last; the newest first.
    """
    files = [path for path in source.writable if _is_file(taken, path)]
    if not files:
        return
    tree = Releases(app).locate_folder(release) / TREE
    earlier = [_Earlier(app, name, taken.root) for name in _list_served(app, release, in_use)]
    for path in files:
        live = next((found for item in earlier if (found := item.find_live_file(path, taken))), None)
        if live is not None:
            _link(live, tree / path.relative_to(taken.root))


def find_not_taken(taken: Snapshot, source: Sources) -> list[Path]:
    """Files that containers may write and that a release of an earlier version has no copy of."""
    return [path for path in source.writable if path.is_file() and not _is_file(taken, path)]


def keep_written(app: App, release: str) -> None:
    """Keep what containers wrote into the files of a release that is to be forgotten, where no other release has it."""
    releases = Releases(app)
    tree, manifest = releases.locate_folder(release) / TREE, releases.locate_folder(release) / MANIFEST
    found = releases.find(release)
    if not tree.is_dir() or not manifest.is_file() or (rendered := releases.read_rendered(found.id)) is None:
        return
    taken = Snapshot.read(manifest, app.path)
    for path in _list_mounted(rendered, writable=True):
        if tree not in path.parents or not path.is_file() or path.is_symlink():
            continue
        entry, status = taken.entries.get(str(path.relative_to(tree))), path.lstat()
        untouched = entry is not None and entry.size == status.st_size and entry.content == compute_file_digest(path)
        if status.st_nlink == 1 and not untouched:
            target = app.state / "kept" / release / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.rename(path, target)


class _Earlier:
    """A release that has served, as far as its files may go on."""

    def __init__(self, app: App, release: str, root: Path) -> None:
        releases = Releases(app)
        self._root, self._tree = root, releases.locate_folder(release) / TREE
        manifest, rendered = (
            releases.locate_folder(release) / MANIFEST,
            releases.read_rendered(releases.find(release).id),
        )
        self._taken = Snapshot.read(manifest, app.path) if manifest.is_file() else Snapshot(root, {})
        self._mounted = set(_list_mounted(rendered)) if rendered else set()

    def find_live_file(self, path: Path, taken: Snapshot) -> Path | None:
        """Find the file that its containers write, where that may go on in a release with this snapshot."""
        name = str(path.relative_to(self._root))
        if path in self._mounted and name not in self._taken.entries:  # as earlier versions mounted it
            return path
        mine, new = self._taken.entries.get(name), taken.entries[name]
        found = self._tree / name
        same = mine is not None and (mine.kind, mine.content) == (new.kind, new.content)
        return found if same and found.is_file() and not found.is_symlink() else None


def _list_served(app: App, release: str, in_use: Sequence[str]) -> Iterator[str]:
    """Releases that may hold what containers wrote: those in use, then the others that have served, latest first."""
    served = [item for item in Releases(app).list_all() if item.served_at and item.id != release]
    latest = sorted(served, key=lambda item: item.served_at or "", reverse=True)
    yield from dict.fromkeys((*in_use, *(item.id for item in latest)))


def _list_mounted(model: ComposeModel, *, writable: bool = False) -> Iterator[Path]:
    """List the sources of the bind mounts of what runs."""
    return (Path(mount.source) for mount in model.binds if not (writable and mount.read_only))


def _is_file(taken: Snapshot, path: Path) -> bool:
    entry = taken.entries.get(str(path.relative_to(taken.root)))
    return entry is not None and entry.kind == "file"


def _link(live: Path, copy: Path) -> None:
    """Let the copy be the same file; where that cannot be it stays one of its own."""
    new = copy.with_name(f"{copy.name}.ikoma-new")
    new.unlink(missing_ok=True)
    try:
        os.link(live, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return
    if stat.S_ISREG(new.lstat().st_mode):
        os.rename(new, copy)
    new.unlink(missing_ok=True)
