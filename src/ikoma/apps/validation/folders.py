"""Findings of folders: source that containers write to, and data that builds want."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ikoma.apps import extension
from ikoma.apps.compose_lines import Source
from ikoma.apps.folder import App
from ikoma.apps.mounts import sources
from ikoma.apps.validation.finding import Finding
from ikoma.errors import IkomaError

_MOST_WORDS = 1000
_LARGEST_DOCKERFILE = 1 << 20


def find_not_kept(app: App, source: Source, model: Mapping[str, Any]) -> list[Finding]:
    """Folders of source that containers write, for what is in them goes with the release; and data that builds want."""
    data = extension.read(model).data if model.get("x-ikoma") else ()
    root = Path(os.path.realpath(app.path))
    found = sources(app, model, data)
    warnings = []
    for folder in sorted({path.relative_to(root) for path in found.writable if path.is_dir()}):
        if folder.parts[0] not in extension.SOURCE:
            problem = f"Images are built from {folder}: what containers write there stays behind at the next deploy."
            fix = "If it is data, let them write to another folder; or mount it read-only."
            warnings.append(Finding(*source.at_text(str(folder)), problem, fix))
        elif len(folder.parts) > 1:
            problem = f"Containers write to {folder}, and what they write there stays behind at the next deploy."
            fix = f"If it is data, say so: `x-ikoma: {{data: [{folder}]}}`; or mount it read-only."
            warnings.append(Finding(*source.at_text(str(folder)), problem, fix))
    for folder in sorted(path.relative_to(root) for path in found.data):
        if any(_takes(text, os.path.relpath(root / folder, context)) for context, text in _dockerfiles(app, model)):
            problem = f"Containers write to {folder}, so it is data, and empty where an image is built."
            fix = "If it is source, mount it read-only or put it into src/; if not, do not COPY it."
            warnings.append(Finding(*source.at_text(str(folder)), problem, fix))
    return warnings


def _dockerfiles(app: App, model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(context, Dockerfile) of each build."""
    for service in (model.get("services") or {}).values():
        build = service.get("build") or {}
        context = os.path.realpath(str(build.get("context") or app.path))
        text = build.get("dockerfile_inline")
        if build and text is None:
            with suppress(IkomaError):
                path = Path(context, str(build.get("dockerfile") or "Dockerfile"))
                text = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
        yield context, str(text or "")


def _takes(dockerfile: str, path: str) -> bool:
    """Whether a Dockerfile takes this path of its context, or what is in it, by name."""
    for line in dockerfile.splitlines():
        verb, *words = line.split()[:_MOST_WORDS] or [""]
        if verb.upper() in ("COPY", "ADD") and not any(word.startswith("--from") for word in words):
            taken = (posixpath.normpath(word.strip("[]\"',").lstrip("/")) for word in words[:-1])
            if any(place == path or place.startswith(f"{path}/") for place in taken):
                return True
    return False
