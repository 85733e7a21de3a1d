"""Which of the paths that an app's containers and builds use are its source, and which are its data.

Source becomes part of each release: what runs, runs from the release's own copy. Data stays where it is and is shared
by all releases, because what containers write must outlive them. Build contexts, files of configs and secrets, what
lies in src/ or config/, and what is only read, is source; all else that containers may write is data, also where it
lies inside a build context: no image is built from what a container can change meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.apps.extension import SOURCE
from ikoma.apps.folder import App
from ikoma.apps.policy.facts import locate


@dataclass(frozen=True, slots=True)
class Sources:
    """Paths inside the app's folder, or that folder, links resolved.

    `writable` ones are source that containers may write, `data` lies inside source and is none.
    """

    paths: tuple[Path, ...]
    writable: tuple[Path, ...]
    data: tuple[Path, ...] = ()

    def holds(self, path: Path) -> bool:
        return _touches(path, self.paths) and not _touches(path, self.data)


def sources(app: App, model: Mapping[str, Any], data: Sequence[str], *, besides: Sequence[str] = ()) -> Sources:
    """The source of a resolved model.

    Args:
        data: folders that the app's own x-ikoma block calls data.
        besides: folders that are source too, where they are there.
    """
    root = Path(os.path.realpath(app.path))
    used = [path for path in map(_real, _read(model)) if _touches(path, [root])]
    used += [root / name for name in besides if (root / name).is_dir() and not (root / name).is_symlink()]
    binds = [(_real(mount["source"]), not mount.get("read_only")) for mount in bind_mounts(model)]
    written = [path for path, writable in binds if writable and not _is_source(root, path)]
    # What a build reads is part of the release whatever else is done with it.
    above = {step for path in used for step in (path, *path.parents)}
    kept = {*(root / folder for folder in data), *written} - above
    mounted = [(path, writable) for path, writable in binds if root in path.parents and not _touches(path, kept)]
    paths = _outermost([*(path for path, _ in mounted), *used])
    whole = set(paths)
    return Sources(
        tuple(paths),
        tuple(sorted({path for path, writable in mounted if writable})),
        tuple(_outermost([path for path in kept if _touches(path, whole)])),
    )


def bind_mounts(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every bind mount of every service."""
    for service in (model.get("services") or {}).values():
        for mount in service.get("volumes") or []:
            if mount.get("type") == "bind":
                yield mount


def written(model: Mapping[str, Any], name: str, source: Sources) -> Iterator[dict[str, Any]]:
    """The mounts in which a service writes data: volumes that have a name, and folders that are no source."""
    for mount in _mounts(model, name):
        if mount.get("read_only"):
            continue
        if mount.get("type") == "volume" and mount.get("source"):
            yield mount
        if mount.get("type") == "bind" and not source.holds(_real(mount["source"])):
            yield mount


def takes_from(service: Mapping[str, Any]) -> dict[str, bool]:
    """The services whose mounts a service has too (`volumes_from`), and whether it may write what they may."""
    words = [str(item).split(":") for item in service.get("volumes_from") or []]
    return {parts[0]: parts[-1] != "ro" for parts in words if parts[0] != "container"}


def _mounts(model: Mapping[str, Any], name: str, *above: str) -> Iterator[dict[str, Any]]:
    """The mounts of a service, with those that it takes from others."""
    service = model["services"].get(name) or {}
    yield from service.get("volumes") or []
    for other, writes in takes_from(service).items():
        if other not in above:
            for mount in _mounts(model, other, name, *above):
                yield mount if writes else {**mount, "read_only": True}


def _read(model: Mapping[str, Any]) -> Iterator[str]:
    """Paths that a build, a config or a secret reads."""
    for service in (model.get("services") or {}).values():
        build = service.get("build") or {}
        for context in (build.get("context"), *(build.get("additional_contexts") or {}).values()):
            if context and str(context).startswith("/"):
                yield str(context)
    for kind in ("configs", "secrets"):
        for item in (model.get(kind) or {}).values():
            if item and item.get("file"):
                yield str(item["file"])


def _is_source(root: Path, path: Path) -> bool:
    return root in path.parents and path.relative_to(root).parts[0] in SOURCE


def _touches(path: Path, others: Iterable[Path]) -> bool:
    """Whether a path is one of these or inside one: a folder above them is source all the same, without them."""
    return not {path, *path.parents}.isdisjoint(others)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    known = set(paths)
    return sorted(path for path in known if known.isdisjoint(path.parents))


def _real(path: str) -> Path:
    return locate(path).path
