"""Brings what containers wrote into a release's copy of a folder to the folder itself, where that is data.

Earlier versions gave each release a copy of its own of a folder in src/ or config/, also where containers wrote it.
The copy that is in use becomes the folder, by a rename: containers that run go on writing what has been moved, and a
link in the copy's place leads them there when they start again. What a person has changed in the folder since is then
put into it, file by file; where containers changed the same file theirs stays, and the person's is kept aside.

Each step can be the last one: the next call goes on. Containers write the folder meanwhile, so nothing in it is
followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from ikoma.app_folder import App
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot, SnapshotEntry, compute_file_digest
from ikoma.compose.release_folder import TREE
from ikoma.durable import remove_tree, sync_filesystem, sync_folder, translate_disk_full
from ikoma.errors import ReleaseNotFound

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
_ADOPTING, KEPT = "adopting", "kept"
_COPY = "copy"


def adopt_folders(app: App, in_use: Sequence[str], source: Sequence[str]) -> list[str]:
    """Make folders of what containers wrote in the copies of these releases; where a person's files are that gave way.

    Args:
        in_use: ids of the releases whose copies containers have, or had last; the newest first.
        source: folders that the app calls source: what containers write there goes with its release.
    """
    releases, kept, adopted = Releases(app), list[str](), set[Path]()
    for identity in in_use:
        release = releases.find(identity)
        for folder in _find_written(releases, release, source):
            kept += _Adoption(app, releases, release, folder).carry_out(is_first=folder not in adopted)
            adopted.add(folder)
    return kept


def resume_adoptions(app: App) -> None:
    """Finish what a killed server left half-moved: a folder may not be there meanwhile."""
    releases = Releases(app)
    for under_way in sorted((app.state / _ADOPTING).glob("*/*")):
        with suppress(ReleaseNotFound):
            release = releases.find(under_way.parent.name)
            _Adoption(app, releases, release, Path(unquote(under_way.name))).carry_out()


def find_copies_in_use(app: App, labels: Sequence[str]) -> list[str]:
    """Ids of the releases whose copies are in use, newest first.

    Args:
        labels: the releases that containers which serve were made for; none where the app is down.
    """
    releases = Releases(app)
    current = releases.find_current()
    if current is None:
        return []
    known = [item.id for item in releases.list_all()]
    return [
        name for name in known if name in {current.id, *(labels or _list_releases_with_containers(releases, current))}
    ]


def _list_releases_with_containers(releases: Releases, current: Release) -> Iterator[str]:
    """Earlier releases that containers of the current one may have been kept from."""
    for name, record in current.services.items():
        for item in releases.list_all():
            if item.id <= current.id and item.services.get(name) == record:
                yield item.id


def _find_written(releases: Releases, release: Release, named: Sequence[str]) -> list[Path]:
    """Folders of a release's copy that containers wrote and are data now, relative to it."""
    model = releases.read_rendered(release.id)
    if model is None:
        return []
    tree = releases.locate_folder(release.id) / TREE
    source = {Path(folder) for folder in (*named, *(release.extension.get("source") or ()))}
    found = set()
    for mount in model.binds:
        path = Path(mount.source)
        if mount.read_only or tree not in path.parents:
            continue
        folder = path.relative_to(tree)
        if source.isdisjoint((folder, *folder.parents)) and not path.is_file():
            found.add(folder)
    return sorted(found)


class _Adoption:
    """One folder of one release's copy on its way to the app's folder."""

    def __init__(self, app: App, releases: Releases, release: Release, folder: Path) -> None:
        self._app = app
        self._folder = folder
        self._place = Path(os.path.realpath(app.path)) / folder
        self._copy = releases.locate_folder(release.id) / TREE / folder
        self._asides = app.state / _ADOPTING / release.id / quote(str(folder), safe="")
        self._kept = Path(KEPT) / release.id / folder
        self._manifest = releases.locate_folder(release.id) / MANIFEST

    def carry_out(self, *, is_first: bool = True) -> list[str]:
        """Bring the copy to the folder; what gave way.

        Args:
            is_first: whether the copy becomes the folder; else a newer one has, and this one is put into that.
        """
        if self._copy.is_dir() and not self._copy.is_symlink():
            self._move() if is_first else self._set_aside()
        if not os.path.lexists(self._copy):
            os.symlink(self._place, self._copy)
            sync_folder(self._copy.parent)
        if not self._asides.is_dir():
            return []
        entries = Snapshot.read(self._manifest, self._app.path).entries
        with translate_disk_full():
            kept = [path for aside in sorted(self._asides.iterdir()) for path in self._bring(aside, entries)]
            sync_filesystem(self._place)
        doomed = self._app.state / f"deleting-{secrets.token_hex(6)}"
        os.rename(self._asides, doomed)
        sync_folder(self._app.state)
        remove_tree(doomed)
        with suppress(OSError):  # another folder is under way
            self._asides.parent.rmdir()
        return kept

    def _move(self) -> None:
        """Let the copy take the folder's place."""
        self._app.make_folder(self._place.parent)
        self._asides.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.path.lexists(self._place):
            os.rename(self._place, self._asides / f"{len(list(self._asides.iterdir())):03}")
            sync_folder(self._asides)
        os.rename(self._copy, self._place)
        sync_folder(self._place.parent)

    def _set_aside(self) -> None:
        """Keep the copy whole: containers may write it still."""
        self._asides.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.rename(self._copy, self._asides / _COPY)
        sync_folder(self._asides)

    def _bring(self, aside: Path, entries: Mapping[str, SnapshotEntry]) -> list[str]:
        """Put into the folder what a person has changed in it since the release; what gave way to a container's."""
        before = list_below(entries, self._folder)
        if aside.name == _COPY:
            left = bring_changes(aside, self._place, before)
            target = self._app.state / self._kept.with_name(f"{self._kept.name}.{secrets.token_hex(4)}")
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.rename(aside, target)
            return [str(target.relative_to(self._app.state) / path) for path in left]
        with _open_folder(aside) as person:
            present = {path for path, _, _ in _walk(person)}
        with _open_folder(self._place) as top:
            for path in (path for path in before if path not in present and aside.name == "000"):
                if _is_as(top, path, before[path]):
                    _remove(top, path)
        return [self._keep(aside, path) for path in bring_changes(aside, self._place, before)]

    def _keep(self, aside: Path, path: Path) -> str:
        target = self._app.state / self._kept / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.rename(aside / path, target)
        return str(self._kept / path)


def list_below(entries: Mapping[str, SnapshotEntry], folder: Path) -> dict[Path, SnapshotEntry]:
    """The files and links that a snapshot has in a folder, by their paths in it."""
    return {
        Path(path).relative_to(folder): entry
        for path, entry in entries.items()
        if path.startswith(f"{folder}/") and entry.kind != "folder"
    }


def bring_changes(person: Path, place: Path, before: Mapping[Path, SnapshotEntry]) -> list[Path]:
    """Move what a person has changed into a folder that containers write, where these have not; what stays behind.

    Args:
        person: a folder of the person's, or one that containers have written.
        before: what both had.
    """
    left = []
    with _open_folder(place) as top, _open_folder(person) as source:
        for path, status, here in _walk(source):
            if path in before and _is_as_noted(path.name, status, before[path], dir_fd=here):
                continue
            gives_way = _is_as(top, path, None) or (path in before and _is_as(top, path, before[path]))
            if gives_way and _put(person, path, here, top):
                continue
            if not _is_same(path, status, here, top):
                left.append(path)
    return left


def _put(person: Path, path: Path, here: int, top: int) -> bool:
    """Move a file from one open folder into another; False where something else stands in the way."""
    try:
        with _open_beneath(top, path.parent, like=person) as folder:
            os.rename(path.name, path.name, src_dir_fd=here, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in (*_NO_FOLDER, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _walk(top: int) -> Iterator[tuple[Path, os.stat_result, int]]:
    """The files and links in an open folder and below, each with the open folder that it stands in."""
    for place, folders, names, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        for name in (*names, *folders):
            with suppress(FileNotFoundError):  # a container may have taken it away
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    yield Path(place, name), status, here


def _is_as(top: int, path: Path, entry: SnapshotEntry | None) -> bool:
    """Whether at a path in the folder stands what a release had there: nothing where it had nothing."""
    try:
        with _open_beneath(top, path.parent) as folder:
            status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            return entry is not None and _is_as_noted(path.name, status, entry, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        return entry is None


def _is_as_noted(name: str | Path, status: os.stat_result, entry: SnapshotEntry, *, dir_fd: int | None = None) -> bool:
    """Whether a file or link has the content that was noted; mode and owner do not matter."""
    if stat.S_ISLNK(status.st_mode):
        return entry.kind == "link" and os.readlink(name, dir_fd=dir_fd) == entry.content
    if entry.kind != "file" or not stat.S_ISREG(status.st_mode) or entry.size != status.st_size:
        return False
    return compute_file_digest(name, dir_fd=dir_fd) == entry.content


def _is_same(path: Path, status: os.stat_result, here: int, top: int) -> bool:
    """Whether the same stands at a path in an open folder as in the one that it is looked for beneath."""
    kind = "link" if stat.S_ISLNK(status.st_mode) else "file"
    content = os.readlink(path.name, dir_fd=here) if kind == "link" else compute_file_digest(path.name, dir_fd=here)
    return _is_as(top, path, SnapshotEntry(kind, 0, 0, 0, content, status.st_size))


def _remove(top: int, path: Path) -> None:
    with _open_beneath(top, path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _open_beneath(top: int, path: Path, *, like: Path | None = None) -> Iterator[int]:
    """A folder beneath an open one, open, none on the way through a link.

    Args:
        like: make what is missing of the way, like the folders in this one.
    """
    folder = os.open(".", _FOLDER, dir_fd=top)
    try:
        for depth, part in enumerate(path.parts):
            if like is not None:
                _make_like(like.joinpath(*path.parts[: depth + 1]), part, folder)
            inside = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inside
        yield folder
    finally:
        os.close(folder)


def _make_like(model: Path, name: str, folder: int) -> None:
    status = model.lstat()
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return
    made = os.open(name, _FOLDER, dir_fd=folder)
    try:
        os.fchown(made, status.st_uid, status.st_gid)
        os.fchmod(made, stat.S_IMODE(status.st_mode) & 0o777)
    finally:
        os.close(made)
