"""What Compose makes of an app's files, and what the policy says before Compose reads them.

The files are read at each question, from inside the app's folder only, and Compose gets what was read. Resolving is a
pure function of those bytes: for as long as they are the same, only the child process is saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ikoma.apps.folder import App
from ikoma.apps.policy.reading import gather
from ikoma.apps.policy.rules import Violation
from ikoma.apps.preview import adapted
from ikoma.ports import Engine, Resolved


@dataclass(frozen=True, slots=True)
class Resolution:
    """`compose` is the compose file as it was read; `resolved` is None where violations kept Compose from it."""

    compose_file: str
    compose: bytes
    violations: tuple[Violation, ...]
    resolved: Resolved | None

    @property
    def model(self) -> Mapping[str, Any] | None:
        return None if self.resolved is None else self.resolved.model

    @property
    def error(self) -> str | None:
        """Why there is no model, in a sentence."""
        if self.resolved is not None:
            return self.resolved.error
        return self.violations[0].problem


class Resolutions:
    """The latest resolution of each app."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._latest: dict[App, tuple[bytes, Resolution]] = {}

    async def resolve(self, app: App) -> Resolution:
        """The resolution of the app's files as they are now.

        Raises:
            FileMissing: there is no compose file.
        """
        gathered = gather(app, app.require_compose_file())
        fingerprint = _fingerprint(gathered.files)
        known = self._latest.get(app)
        if known is not None and known[0] == fingerprint:
            return known[1]
        resolved = None
        if not gathered.violations:
            resolved = await self._engine.resolve(app.name, app.path, gathered.compose_file, gathered.files)
            if resolved.model is not None:
                resolved = replace(resolved, model=adapted(app.name, resolved.model))
        compose = gathered.files[gathered.compose_file]
        resolution = Resolution(gathered.compose_file, compose, tuple(gathered.violations), resolved)
        if resolved is not None:  # a violation can also be of what is on the disk, not in the files
            self._latest[app] = fingerprint, resolution
        return resolution


def _fingerprint(files: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path}:{len(content)}:".encode())
        digest.update(content)
    return digest.digest()
