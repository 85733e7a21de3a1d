"""The files of an app's folder as a tar file, and what such a file holds, told in one number.

Containers may write into the folder while it is read: nothing is opened through a link, and a file that grows or
shrinks meanwhile has the length that it had when it was met.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from ikoma.durable import open_file, translate_disk_full
from ikoma.errors import BackupDamaged
from ikoma.model import quote_name

_PIECE = 1 << 20
_HASH_BITS = 256


@dataclass(frozen=True, slots=True)
class Inventory:
    """The content of a tar file in numbers: entries, bytes of its files, and the sum of a SHA-256 of each entry.

    An entry counts with its path, kind, mode, owner and content; times and the order do not count.
    """

    entries: int
    size: int
    digest: str


def write_folder(root: Path, stream: BinaryIO, *, without: Callable[[str], bool] = lambda path: False) -> None:
    """Write a folder as a tar file, itself being `.`; sockets are left out, and files that go meanwhile.

    Args:
        without: tells of a folder inside, by its path from the root, whether it is left out.
    """
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for place, folders, names, descriptor in os.fwalk(root, onerror=_refuse, follow_symlinks=False):
            here = os.path.relpath(place, root)
            folders[:] = [name for name in folders if not without(_join(here, name))]
            archive.addfile(_describe(here, os.fstat(descriptor)))
            links = [name for name in folders if _is_link(name, descriptor)]
            for name in sorted((*names, *links)):
                with suppress(FileNotFoundError):
                    _add(archive, _join(here, name), name, descriptor)
            _forget(archive)


def take_inventory(path: Path) -> Inventory:
    """Read a tar file to its end; tarfile.TarError where it is none, or was cut off inside a file."""
    linked = {_clean(item.linkname) for item, _ in _read(path) if item.islnk()}
    known: dict[str, bytes] = {}
    entries = size = total = 0
    for item, digest in _read(path, hashed=True):
        name = _clean(item.name)
        # A second name of a file counts as that file: which of them comes first is chance.
        told = known.get(_clean(item.linkname)) if item.islnk() else None
        if told is None:
            kind = "file" if item.isreg() else repr(item.type)
            target = item.linkname if item.issym() else ""
            told = repr((kind, item.mode, item.uid, item.gid, item.devmajor, item.devminor, target, digest)).encode()
            size += item.size
        if name in linked:
            known[name] = told
        entries += 1
        total += int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape") + b"\0" + told).digest())
    return Inventory(entries, size, f"{total % (1 << _HASH_BITS):064x}")


def unpack(path: Path, folder: Path) -> None:
    """Make a new folder of a tar file: modes, owners and times as they were.

    Raises:
        BackupDamaged: it is none, was cut off, or an entry of it would lie outside of the folder.
        DiskFull
    """
    folder.mkdir(mode=0o700)
    links: set[str] = set()

    def judge(item: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
        name = _clean(item.name)
        parents = {str(parent) for parent in Path(name).parents}
        if (
            name.startswith(("/", ".."))
            or {name, *parents} & links
            or (item.islnk() and _leads_out(item.linkname, links))
        ):
            raise BackupDamaged(f"{path.name} holds {quote_name(item.name)}, which would lie elsewhere.")
        if item.issym():
            links.add(name)
        return item

    try:
        with translate_disk_full(), tarfile.open(path, mode="r:") as archive:
            archive.extractall(folder, filter=judge, numeric_owner=True)  # noqa: S202  # each entry is judged
    except tarfile.TarError as error:
        raise BackupDamaged(f"{path.name} could not be read to its end.") from error


def _leads_out(target: str, links: Collection[str]) -> bool:
    name = _clean(target)
    return name.startswith(("/", "..")) or any(str(parent) in links for parent in Path(name).parents)


def _join(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118  # names may be no text


def _read(path: Path, *, hashed: bool = False) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Each entry, and the SHA-256 of what is a file."""
    with tarfile.open(path, mode="r:") as archive:
        while (item := archive.next()) is not None:
            content = archive.extractfile(item) if hashed and item.isreg() else None
            yield item, "" if content is None else _hash(content)
            _forget(archive)


def _hash(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _forget(archive: tarfile.TarFile) -> None:
    """Let it forget the files that it has passed: it would remember every one."""
    vars(archive)["members"] = []


def _clean(name: str) -> str:
    return os.path.normpath(name)


def _add(archive: tarfile.TarFile, path: str, name: str, folder: int) -> None:
    there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(there.st_mode):
        archive.addfile(_describe(path, there, os.readlink(name, dir_fd=folder)))
    elif not stat.S_ISREG(there.st_mode):
        if not stat.S_ISSOCK(there.st_mode):
            archive.addfile(_describe(path, there))
    else:
        try:
            opened = open_file(name, dir_fd=folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            return  # it is something else by now
        with os.fdopen(opened, "rb") as content:
            there = os.fstat(content.fileno())
            archive.addfile(_describe(path, there), _Exactly(content))  # type: ignore[arg-type]


class _Exactly:
    """A file that ends nowhere: zeros follow where it became shorter."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        return self._content.read(size).ljust(size, b"\0")


def _describe(path: str, there: os.stat_result, target: str = "") -> tarfile.TarInfo:
    item = tarfile.TarInfo(path)
    item.mode, item.uid, item.gid, item.mtime = stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, there.st_mtime
    item.linkname = target
    item.type = _KINDS.get(stat.S_IFMT(there.st_mode), tarfile.REGTYPE)
    if item.isreg():
        item.size = there.st_size
    elif item.isdev() and not item.isfifo():
        item.devmajor, item.devminor = os.major(there.st_rdev), os.minor(there.st_rdev)
    return item


_KINDS = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
