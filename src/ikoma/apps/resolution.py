"""What Compose makes of an app's files, remembered for as long as those files hold the same bytes.

Resolving is a pure function of the files it reads. They are read at each question, so the answer is never stale;
only the child process is saved. Files that pull in others (`include`, `extends`) are resolved anew each time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ikoma.apps.folder import App
from ikoma.ports import Engine, Resolved


@dataclass(frozen=True, slots=True)
class _Remembered:
    env_files: tuple[Path, ...]
    fingerprint: bytes
    resolved: Resolved


class Resolutions:
    """The latest resolution of each app."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._latest: dict[App, _Remembered] = {}

    async def resolve(self, app: App) -> Resolved:
        """The resolution of the app's files as they are now."""
        path = app.require_compose_file()
        known = self._latest.get(app)
        if known is not None and known.fingerprint == _fingerprint(app, path, known.env_files):
            return known.resolved
        env_files = _env_files(app, path)
        before = _fingerprint(app, path, env_files or ())
        resolved = await self._engine.resolve(app.name, app.path, path)
        self._latest.pop(app, None)
        # Nothing is remembered of files that changed while Compose read them.
        if env_files is not None and before == _fingerprint(app, path, env_files):
            self._latest[app] = _Remembered(env_files, before, resolved)
        return resolved


def _fingerprint(app: App, compose_file: Path, env_files: tuple[Path, ...]) -> bytes:
    digest = hashlib.sha256()
    for path in (compose_file, app.env_file, *env_files):
        content = path.read_bytes() if path.is_file() else None
        digest.update(f"{path}:{None if content is None else len(content)}:".encode())
        digest.update(content or b"")
    return digest.digest()


def _env_files(app: App, compose_file: Path) -> tuple[Path, ...] | None:
    """The env_files that a compose file names; None where it reads more than can be told from here."""
    try:
        model = yaml.load(compose_file.read_bytes(), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    services = model.get("services") if isinstance(model, dict) else None
    if not isinstance(services, dict) or "include" in model:
        return None
    found: list[str] = []
    for service in services.values():
        if not isinstance(service, dict) or "extends" in service:
            return None
        found += _listed(service.get("env_file"))
    if any("$" in name for name in found):
        return None
    return tuple(app.path / name for name in found)


def _listed(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value] if value else []
    return [str(entry.get("path") if isinstance(entry, dict) else entry) for entry in entries]
