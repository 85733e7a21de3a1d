"""Read the configuration of a service: text files of the app's folder that it mounts, and configs in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.errors import IkomaError

_SUFFIXES = (".conf", ".cfg", ".yml", ".yaml", ".toml", ".template", ".caddy", "caddyfile")
_LARGEST = 1 << 18
_MOST_FILES, _MOST_LOOKED_AT = 50, 1000


def read_mounted_text(app: App, model: ComposeModel, service: str) -> str:
    """All of it, one after another; what cannot be read is passed over."""
    found = [str(item.get("content") or "") for item in _list_configs(model, service)]
    for path in islice(_list_files(app, model, service), _MOST_FILES):
        with suppress(IkomaError, OSError):
            found.append(app.read_inside(path, _LARGEST).decode(errors="replace"))
    return "\n".join(found).replace("$$", "$")


def _list_configs(model: ComposeModel, service: str) -> Iterator[Mapping[str, Any]]:
    return (model.find_content("configs", given) for given in model.services[service].configs)


def _list_files(app: App, model: ComposeModel, service: str) -> Iterator[Path]:
    """Files that may be settings, in the app's folder only."""
    sources = [mount.source for mount in model.services[service].binds]
    sources += [str(item["file"]) for item in _list_configs(model, service) if item.get("file")]
    for source in sources:
        with suppress(IkomaError):
            path = app.check_inside(Path(source))
            if path.is_file():
                yield path
            elif path.is_dir() and path != app.check_inside(app.path):
                yield from islice(_list_below(path), _MOST_LOOKED_AT)


def _list_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names) if name.lower().endswith(_SUFFIXES))
