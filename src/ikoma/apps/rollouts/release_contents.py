"""The contents of a release beside its model, and the checksums that tell when its containers are replaced.

Containers carry that checksum. Another way to compute it would have those of every app replaced at their next deploy.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from ikoma.compose.model import ComposeModel
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.ports.rollout import ReleaseParts

_NO_PART = ("image", "build", "depends_on", "scale", "pull_policy", "profiles")


@dataclass(frozen=True, slots=True)
class ReleaseContents:
    """The contents of one release.

    Args:
        images: service → id of the image that it runs.
        given: values of the variables that the release was made with.
        digest: computes the digest of a source's content by its path in the app's folder.
    """

    folder: ReleaseFolder
    images: Mapping[str, str]
    given: Mapping[str, str]
    digest: Callable[[Path], str]
    dotenv: bytes = b""
    """The app's .env as the release was made with it."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Checksums of data that a person deploys too, by path in the app's folder."""

    def make_parts(self, model: ComposeModel) -> ReleaseParts:
        """Make the part of this that an engine is told, for the model that it is to run."""
        return ReleaseParts(self.folder.sources, self.compute_configurations(model), self.given, self.dotenv)

    def compute_configurations(self, model: ComposeModel) -> dict[str, str]:
        """For each service a checksum of all that its containers are made of: equal ones need not be replaced."""
        return {name: self._compute_configuration(model, name) for name in model.services}

    def _compute_configuration(self, model: ComposeModel, name: str) -> str:
        described = model.services[name]
        service = {key: value for key, value in described.raw.items() if key not in _NO_PART}
        service["deploy"] = {key: value for key, value in (service.get("deploy") or {}).items() if key != "replicas"}
        binds = [mount.source for mount in described.binds]
        given = {
            kind: {str(item.get("source")): model.find_content(kind, item) for item in items}
            for kind, items in described.contents.items()
        }
        items = [item for kind in given.values() for item in kind.values()]
        read = [item["file"] for item in items if item.get("file")]
        variables = [self.given.get(item["environment"]) for item in items if item.get("environment")]
        kept = [*filter(self.folder.find_mounted, binds), *filter(self.folder.find_inside, read)]
        contents = {path: self._compute_digest(Path(os.path.realpath(path))) for path in kept}
        # How containers get out: the networks they are in, less what changes with each rollout.
        declared = model.raw.get("networks") or {}
        networks = {key: declared.get(key) for key in described.networks}
        marks = {path: mark for path in binds for place, mark in self.marks.items() if self._is_in(path, place)}
        whole = [service, self.images.get(name), given, variables, contents, networks, *([marks] if marks else [])]
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    def _is_in(self, path: str, place: str) -> bool:
        real = Path(os.path.realpath(path))
        return self.folder.root / place in (real, *real.parents)

    def _compute_digest(self, path: Path) -> str:
        if path == self.folder.root / ".env":
            return hashlib.sha256(self.dotenv).hexdigest()
        return self.digest(path)
