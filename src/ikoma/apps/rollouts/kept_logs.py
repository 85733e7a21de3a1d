"""The last lines of containers that are gone, kept with the release that they were of: why it was left stands there.

They are kept best-effort, immediately before containers are removed: nothing that a rollout does depends on them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.releases.release import KEPT_LOGS, Releases
from ikoma.apps.secrets import app_secrets
from ikoma.durable import write_file
from ikoma.errors import IkomaError
from ikoma.kernel.redaction.redaction import list_encodings, redact
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import LogLine, Runtime

log = logging.getLogger("ikoma")

_MOST_LINES = 200
"""Limit of one container."""
_MOST_BYTES = 128 << 10
"""Limit of one release."""
_LONGEST_LINE = 2000

Said = tuple[str, LogLine]
"""A service, and a line that its container said."""


async def keep_logs(runtime: Runtime, app: App, containers: Sequence[Replica]) -> None:
    """Keep what these containers said last: they are about to be removed."""
    by_release = defaultdict(list)
    for item in containers:
        if item.release is not None and item.state != "created":
            by_release[item.release].append(item)
    for identity, those in by_release.items():
        try:
            await _keep(runtime, app, identity, those)
        except (IkomaError, OSError) as error:
            log.warning("%s: the last lines of %s are not kept: %s", app.name, identity, error)


def read_logs(app: App, release: str) -> list[Said]:
    """The lines that are kept of a release, oldest first."""

    def parse(stored: Any) -> list[Said]:
        return [(service, LogLine(at, text)) for at, service, text in stored]

    return app.read_state(f"releases/{release}/{KEPT_LOGS}", parse) or []


async def _keep(runtime: Runtime, app: App, identity: str, containers: Sequence[Replica]) -> None:
    folder = Releases(app).locate_folder(identity)
    if not folder.is_dir():
        return
    release = Releases(app).find(identity)
    hidden = list_encodings([*app_secrets.find_of_app(app), *app_secrets.find_of_release(app, release)])
    found = await asyncio.gather(*(runtime.read_log(item, tail=_MOST_LINES, since=None) for item in containers))
    said = {(line.at, service, line.text) for service, line in read_logs(app, identity)}
    for item, lines in zip(containers, found, strict=True):
        said |= {(line.at, item.service, redact(line.text, hidden)[:_LONGEST_LINE]) for line in lines}
    write_file(folder / KEPT_LOGS, orjson.dumps(_select_last(sorted(said))), mode=0o600)


def _select_last(lines: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The last of them that are not too many bytes."""
    kept, size = list[tuple[str, str, str]](), 0
    for line in reversed(lines):
        size += len(line[2].encode()) + 1
        if size > _MOST_BYTES:
            break
        kept.append(line)
    return kept[::-1]
