"""Tells an app's source from its data, by the paths that its containers and builds use.

Source becomes part of each release: what runs, runs from the release's own copy. Data stays where it is and is shared
by all releases, because what containers write must outlive them. A folder that a container may write is data, unless
the app says that it is source; single files, and what is only read or built from, are source. A folder can be both:
images are built from the copy, and containers write the folder itself.

What lies below a folder that containers write is mounted as a copy or not at all: they could make a link of it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.model import Build, ComposeModel, Mount
from ikoma.compose.paths import LocatedPath, locate
from ikoma.compose.x_ikoma import SOURCE
from ikoma.errors import IkomaError

_MOST_WORDS = 1000
_LARGEST_DOCKERFILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """Paths inside the app's folder, or that folder, links resolved.

    `paths` are what a release has a copy of, `writable` those of them that containers may write. `data` is mounted
    from where it is. `left_out` is the data that lies inside source and of which no copy is made.
    """

    paths: tuple[Path, ...]
    writable: tuple[Path, ...]
    data: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()

    def holds(self, path: Path) -> bool:
        """Whether a mount of this path is one of the release's copy."""
        return _is_nearer(path, frozenset(self.paths), frozenset(self.data))

    def keeps(self, path: Path) -> bool:
        """Whether the release has a copy of this path."""
        return _is_nearer(path, frozenset(self.paths), frozenset(self.left_out))

    def list_data_below(self, path: Path) -> list[Path]:
        """The data that lies inside a path, and not inside other data there."""
        return _select_outermost([item for item in self.data if path in item.parents])


def find_sources(app: App, model: ComposeModel, *, besides: Sequence[str] = ()) -> Sources:
    """The source and the data of a resolved model.

    Args:
        besides: folders that are source too, where they are there.
    """
    root = Path(os.path.realpath(app.path))
    named = _read_named_folders(root, model)
    read = [path for path in map(_resolve_links, _read(model)) if _touches(path, [root])]
    read += [root / name for name in besides if (root / name).is_dir() and not (root / name).is_symlink()]
    binds = [item for item in _list_binds(model) if root in item[0].path.parents and item[0].path != root / ".env"]
    written = {way.path for way, writable in binds if writable and _is_written(way.path, named)}
    data = written | {path for path, is_source in named.items() if not is_source}
    mounted = [
        (way.path, writable) for way, writable in binds if way.path not in data and not leads_astray(way, written)
    ]
    copied = [(path, writable) for path, writable in mounted if _is_copied(path, named, written)]
    paths = {*read, *(path for path, _ in copied)}
    needed = {step for path in read for step in (path, *path.parents)}
    needed |= {root / name for name in SOURCE} - named.keys()
    inside = [path for path in data - needed if _touches(path, paths)]
    builds = list(_list_builds(app, model)) if inside else []
    return Sources(
        tuple(sorted(path for path in paths if not _is_nearer(path.parent, paths, data))),
        tuple(sorted({path for path, writable in copied if writable})),
        tuple(sorted(data)),
        tuple(_select_outermost([path for path in inside if not _is_built_from(path, builds)])),
    )


def _read_named_folders(root: Path, model: ComposeModel) -> dict[Path, bool]:
    """Read from the x-ikoma block which paths are source and which are data."""
    source, data = model.x_ikoma.source, model.x_ikoma.data
    return {root / name: True for name in source} | {root / name: False for name in data}


def list_deployed_data(app: App, model: ComposeModel, found: Sources) -> list[Path]:
    """Data that a person deploys too: it lies in src/ or config/, and the app does not call it data."""
    root = Path(os.path.realpath(app.path))
    named = _read_named_folders(root, model)
    homes = [root / name for name in SOURCE]
    return [path for path in found.data if _touches(path, homes) and _find_nearest(path, named) is not False]


def leads_astray(way: LocatedPath, folders: Set[Path]) -> bool:
    """Whether a way leads through one of these folders and ends elsewhere."""
    return any(step in folders and step not in way.path.parents for step in way.passed)


def _list_binds(model: ComposeModel) -> Iterator[tuple[LocatedPath, bool]]:
    """The folder of each bind mount, and whether its container may write there."""
    for mount in model.binds:
        yield locate(mount.source), not mount.read_only


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have such a name; validation says so
        return False


def _is_written(path: Path, named: Mapping[Path, bool]) -> bool:
    """Whether what a container may write at a path is data."""
    is_source = _find_nearest(path, named)
    return not is_source and (is_source is False or not _is_file(path))


def _is_copied(path: Path, named: Mapping[Path, bool], written: Set[Path]) -> bool:
    """Whether what is mounted from a path that is no data itself is a copy."""
    return not written.isdisjoint(path.parents) or _find_nearest(path, named) is not False


def _find_nearest(path: Path, named: Mapping[Path, bool]) -> bool | None:
    """Find what is said of a path, or of the nearest folder above it of which something is said."""
    return next((named[step] for step in (path, *path.parents) if step in named), None)


def _is_nearer(path: Path, source: Set[Path], data: Set[Path]) -> bool:
    """Whether the nearest of these folders at or above a path is one of source, and not one of data."""
    return next((step not in data for step in (path, *path.parents) if step in data or step in source), False)


def find_written(model: ComposeModel, name: str, source: Sources) -> Iterator[Mount]:
    """The mounts in which a service writes what releases share: volumes that have a name, data, and single files."""
    for mount in _list_mounts(model, name):
        if mount.read_only:
            continue
        if mount.is_volume and mount.source:
            yield mount
        if mount.is_bind:
            path = _resolve_links(mount.source)
            if not source.holds(path) or _is_file(path):
                yield mount


def _list_mounts(model: ComposeModel, name: str, *above: str) -> Iterator[Mount]:
    """The mounts of a service, with those that it takes from others."""
    if name not in model.services:
        return
    service = model.services[name]
    yield from service.mounts
    for other, writes in service.mounts_from.items():
        if other not in above:
            for mount in _list_mounts(model, other, name, *above):
                yield mount if writes else replace(mount, read_only=True)


def _read(model: ComposeModel) -> Iterator[str]:
    """Paths that a build, a config or a secret reads."""
    for build in model.builds:
        for context in (build.context, *build.additional_contexts.values()):
            if context.startswith("/"):
                yield context
    for items in model.contents.values():
        yield from (str(item["file"]) for item in items.values() if item.get("file"))


def find_dockerfiles(builds: Iterable[Build]) -> Iterator[Path]:
    """The places of the Dockerfiles of these builds, as far as they are files."""
    for build in builds:
        if build.context.startswith("/") and build.inline is None:
            yield Path(os.path.normpath(Path(build.context, build.dockerfile)))


def _list_builds(app: App, model: ComposeModel) -> Iterator[tuple[Path, str]]:
    """(context, Dockerfile) of each build."""
    for build in model.builds:
        text = build.inline or ""
        for path in find_dockerfiles([build]):
            with suppress(IkomaError):
                text = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
        if text:
            yield _resolve_links(build.context or str(app.path)), text


def _is_built_from(path: Path, builds: Iterable[tuple[Path, str]]) -> bool:
    """Whether a Dockerfile takes a path of its context, what is in it, or a folder above it, by name."""
    for context, text in builds:
        place = posixpath.normpath(os.path.relpath(path, context))
        for word in _list_taken(text):
            if word == place or word.startswith(f"{place}/") or (word != "." and place.startswith(f"{word}/")):
                return True
    return False


def _list_taken(dockerfile: str) -> Iterator[str]:
    """The paths of its context that a Dockerfile names in COPY and ADD."""
    for line in dockerfile.splitlines():
        verb, *words = line.split()[:_MOST_WORDS] or [""]
        if verb.upper() in ("COPY", "ADD") and not any(word.startswith("--from") for word in words):
            for word in words[:-1]:
                yield posixpath.normpath(word.strip("[]\"',").lstrip("/"))


def _touches(path: Path, others: Iterable[Path]) -> bool:
    """Whether a path is one of these or inside one."""
    return not {path, *path.parents}.isdisjoint(others)


def _select_outermost(paths: Iterable[Path]) -> list[Path]:
    known = set(paths)
    return sorted(path for path in known if known.isdisjoint(path.parents))


def _resolve_links(path: str) -> Path:
    return locate(path).path
