"""References of a compose file to others: the files that are read with it, or mounted."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.apps.yaml.violation import Place


@dataclass(frozen=True, slots=True)
class FileReference:
    """A path in a compose file that is read with it.

    `kind` is include, extends, plain (its content is read as it is) or mounted (only where it leads is checked).
    """

    kind: str
    path: str
    folder: str | None = None
    env_files: tuple[str, ...] = ()


def find_references(document: Mapping[str, Any]) -> Iterator[tuple[Place, FileReference | None]]:
    """List what a compose file reads; None where that cannot be told."""
    for index, entry in enumerate(_make_list(document.get("include"))):
        yield from ((("include", index), item) for item in _list_included(entry))
    services = document.get("services")
    for name, service in services.items() if isinstance(services, Mapping) else ():
        if isinstance(service, Mapping):
            yield from _list_of_service(("services", name), service)
    for kind in ("configs", "secrets"):
        items = document.get(kind)
        for name, item in items.items() if isinstance(items, Mapping) else ():
            yield from _find_file_of((kind, name), item, "mounted")


def _list_included(entry: Any) -> Iterator[FileReference | None]:
    if not isinstance(entry, Mapping):
        yield FileReference("include", entry) if isinstance(entry, str) else None
        return
    paths, env_files = _make_list(entry.get("path")), _make_list(entry.get("env_file"))
    folder = entry.get("project_directory")
    if not paths or not all(isinstance(text, str) for text in (*paths, *env_files, folder or "")):
        yield None
        return
    for path in paths:
        yield FileReference("include", path, folder or posixpath.dirname(paths[0]), tuple(env_files))


def _list_of_service(place: Place, service: Mapping[str, Any]) -> Iterator[tuple[Place, FileReference | None]]:
    yield from _find_file_of((*place, "extends"), service.get("extends"), "extends")
    for key in ("env_file", "label_file"):
        for index, entry in enumerate(_make_list(service.get(key))):
            path = entry.get("path") if isinstance(entry, Mapping) else entry
            yield (*place, key, index), FileReference("plain", path) if isinstance(path, str) else None
    yield from _find_file_of((*place, "credential_spec"), service.get("credential_spec"), "mounted")


def _find_file_of(place: Place, item: Any, kind: str) -> Iterator[tuple[Place, FileReference | None]]:
    file = item.get("file") if isinstance(item, Mapping) else None
    if file is not None:
        yield (*place, "file"), FileReference(kind, file) if isinstance(file, str) else None


def _make_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
