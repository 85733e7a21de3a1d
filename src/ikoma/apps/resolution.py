"""What Compose makes of an app's files, and what the policy says before Compose reads them.

The files are read at each question, from inside the app's folder only, and Compose gets what was read. Resolving is a
pure function of those bytes: for as long as they are the same, only the child process is saved.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ikoma.apps import environment
from ikoma.apps.compose_lines import Source
from ikoma.apps.folder import App
from ikoma.apps.notice import Notice
from ikoma.apps.policy.reading import Gathered, gather
from ikoma.apps.policy.rules import Violation
from ikoma.apps.preview import adapted
from ikoma.apps.remainder import Remainder, remainder
from ikoma.apps.substitutes import substituted
from ikoma.kernel.redaction import HIDDEN, forms
from ikoma.ports import Engine, Resolved

_LEAST_HIDDEN = 6
_BETWEEN_QUOTES = re.compile(r"[^\"'`]+")


@dataclass(frozen=True, slots=True)
class Resolution:
    """`source` is the compose files as they were read; `resolved` is None where violations kept Compose from them."""

    source: Source
    violations: tuple[Violation, ...]
    resolved: Resolved | None
    notices: tuple[Notice, ...] = ()
    """What works differently here."""
    gathered: Gathered | None = None
    """The files as they were read."""

    @property
    def model(self) -> Mapping[str, Any] | None:
        return None if self.resolved is None else self.resolved.model

    @property
    def warnings(self) -> Sequence[str]:
        """What Compose said besides."""
        return () if self.resolved is None else self.resolved.warnings

    @property
    def error(self) -> str | None:
        """Why there is no model, in a sentence."""
        if self.resolved is not None:
            return self.resolved.error
        return self.violations[0].problem


class Resolutions:
    """What Compose made of each app's files, the latest of them remembered.

    Args:
        waived: the rules of the policy that are waived for an app.
    """

    def __init__(self, engine: Engine, waived: Callable[[App], Collection[str]] = lambda app: ()) -> None:
        self._engine = engine
        self._waived = waived
        self._latest: dict[App, tuple[bytes, Resolved]] = {}

    async def resolve(self, app: App) -> Resolution:
        """The resolution of the app's files as they are now.

        Raises:
            FileMissing: there is no compose file.
        """
        gathered = await asyncio.to_thread(gather, app)
        resolved = None if gathered.violations else await self._resolved(app, gathered)
        notices = gathered.notices
        if resolved is not None and resolved.model is not None:
            waived = self._waived(app)
            model, more = await substituted(self._engine, app.name, resolved.model, waived)
            resolved, notices = replace(resolved, model=model), [*notices, *more]
        source = await asyncio.to_thread(lambda: gathered.source)
        return Resolution(source, tuple(gathered.violations), resolved, tuple(notices), gathered)

    async def remainder(self, app: App, resolution: Resolution) -> Remainder:
        """All that is refused in files that have come to no model, and what is left of them."""
        assert resolution.gathered is not None
        found = await remainder(app, resolution.gathered, resolution.resolved, lambda files: self._ask(app, files))
        if found.model is not None:
            found.model, _ = await substituted(self._engine, app.name, found.model, self._waived(app))
        return found

    async def _resolved(self, app: App, gathered: Gathered) -> Resolved:
        fingerprint = _fingerprint(gathered)
        known = self._latest.get(app)
        if known is not None and known[0] == fingerprint:
            return known[1]
        resolved = await self._ask(app, gathered)
        self._latest[app] = fingerprint, resolved
        return resolved

    async def _ask(self, app: App, gathered: Gathered) -> Resolved:
        resolved = await self._engine.resolve(app.name, app.path, gathered.merged, gathered.for_compose)
        if resolved.model is not None:
            resolved = replace(resolved, model=adapted(app.name, resolved.model))
        elif resolved.error is not None:
            error = await asyncio.to_thread(without_parts, resolved.error, _secrets(gathered.files))
            resolved = replace(resolved, error=error)
        return resolved


def _secrets(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """What is secret in the .env that Compose read, in every form."""
    return forms(environment.secret_values(environment.values_in(files.get(".env", b""))))


def without_parts(message: str, secrets: Sequence[str]) -> str:
    """The message without parts of these secrets, in capitals or not.

    Compose takes values apart, and then quotes what it cannot read. Whole values are taken out of all that leaves;
    a part would be found by nobody.
    """
    said, known = message.lower(), [secret.lower() for secret in secrets]
    everything = "\n".join(known)
    runs = {said[begin : begin + _LEAST_HIDDEN] for begin in range(len(said))}
    at_an_end = [part for part in known if part[:_LEAST_HIDDEN] in runs or part[-_LEAST_HIDDEN:] in runs]
    return _BETWEEN_QUOTES.sub(lambda piece: _without_parts(piece[0], everything, at_an_end), message)


def _without_parts(piece: str, everything: str, at_an_end: Sequence[str]) -> str:
    said = piece.lower()
    head = max((_overlap(secret, said) for secret in at_an_end), default=0)
    tail = max((_overlap(said, secret) for secret in at_an_end), default=0)
    if len(said) >= _LEAST_HIDDEN and (said in everything or head + tail >= len(piece)):
        return HIDDEN
    return (HIDDEN if head else "") + piece[head : len(piece) - tail] + (HIDDEN if tail else "")


def _overlap(first: str, second: str) -> int:
    """How much of the end of one text is the beginning of the other; 0 where that is too little to tell a secret."""
    begin = first.find(second[:_LEAST_HIDDEN], max(0, len(first) - len(second)))
    while 0 <= begin <= len(first) - _LEAST_HIDDEN:
        if second.startswith(first[begin:]):
            return len(first) - begin
        begin = first.find(second[:_LEAST_HIDDEN], begin + 1)
    return 0


def _fingerprint(gathered: Gathered) -> bytes:
    digest = hashlib.sha256("\0".join(gathered.merged).encode())
    for path, content in sorted(gathered.files.items()):
        digest.update(f"{path}:{len(content)}:".encode())
        digest.update(content)
    return digest.digest()
