"""Every secret value that IKOMA knows: of the apps' variables, as they are written and as Compose resolved them, of
their databases, webhooks and repositories, of the platform.

Files are looked at again when they change: those of the app that a call is about at every call, the others every
other second. A value that was replaced stays known, because containers that run may still say it.

Short values are hidden from those whose key reaches the app. From others only what cannot be guessed is hidden: whoever
can make the server say what they like (SQL can) would see by the stars which of their guesses is another app's PIN.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from ikoma.app_folder import COMPOSE_NAMES, OVERRIDE_NAMES, App
from ikoma.apps.secrets import app_secrets
from ikoma.apps.secrets.secret_files import SecretFiles
from ikoma.kernel.access.caller import reaches
from ikoma.kernel.redaction.redaction import KnownSecrets, list_encodings
from ikoma.model import NAMES_OF_CALLS, AppName, Secret

_LOOK_SECONDS = 2.0
_MOST_OLD = 5000
_UNGUESSABLE = 16
"""Characters, from which on a value is hidden everywhere."""

Resolved = Callable[[App], Sequence[Secret]]
"""The secrets in what Compose made of an app's files last; the same object for as long as it made nothing else."""
Named = Callable[[App], frozenset[str]]
"""The names of an app's parts: its services, domains and volumes."""


class SecretIndex:
    """Knows secrets.

    Args:
        files: those of apps.
        platform: the platform's own.
        resolved: what is known of an app besides its files.
        named: the names in its files as they are, and of domains that were added.
    """

    def __init__(
        self,
        files: SecretFiles,
        platform: Iterable[Secret],
        resolved: Resolved = lambda app: (),
        named: Named = lambda app: frozenset(),
    ) -> None:
        self._files = files
        self._apps = files.apps
        self._resolved = resolved
        self._named = named
        self._names: dict[str, frozenset[str]] = {}
        self._platform = [secret for secret in platform if secret.reveal()]
        self._stamps: dict[str, tuple[object, ...]] = {}
        self._values: dict[str, dict[str, None]] = {}
        self._looked = 0.0
        self._long: KnownSecrets | None = None
        self._known: dict[tuple[str, ...], KnownSecrets] = {}

    def __call__(self, app: str | None, reach: tuple[str, ...] = ()) -> KnownSecrets:
        """Find what is known now and to be hidden from one who reaches these apps (globs; none: all)."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            for name in self._apps.list_names():
                self._refresh(self._apps.locate(name))
        elif app is not None:
            self._refresh(self._apps.locate(AppName(app)))
        if (known := self._known.get(reach)) is None:
            known = self._known[reach] = self._gather(reach)
        return known

    def _refresh(self, app: App) -> None:
        """Read an app's secrets again where a file has changed."""
        found, resolved = self._files.find(app), self._resolved(app)
        stamp = (found, resolved)
        if stamp == self._stamps.get(app.name):
            return
        self._stamps[app.name] = stamp
        known = self._values.setdefault(app.name, {})
        before, names = len(known), self._names.get(app.name)
        known.update(dict.fromkeys(secret.reveal() for secret in (*found.values, *resolved)))
        self._names[app.name] = self._named(app) | app_secrets.find_names(app)
        while len(known) > _MOST_OLD:
            del known[next(iter(known))]
        if len(known) != before or self._names[app.name] != names:
            self._long = None
            self._known.clear()

    def _gather(self, reach: tuple[str, ...]) -> KnownSecrets:
        apps = [str(name) for name in self._apps.list_names()]
        names = {*apps, *(f"{name}.localhost" for name in apps), *COMPOSE_NAMES, *OVERRIDE_NAMES, *NAMES_OF_CALLS}
        names = names.union(*self._names.values())
        if self._long is None:
            everything = self._collect_forms(self._values)
            self._long = KnownSecrets.of([text for text in everything if len(text) >= _UNGUESSABLE], names)
        reached = self._collect_forms([name for name in self._values if reaches(name, reach)])
        # The long ones go first: one may hold a short one.
        return self._long + KnownSecrets.of([text for text in reached if len(text) < _UNGUESSABLE], names)

    def _collect_forms(self, names: Iterable[str]) -> tuple[str, ...]:
        """Collect the spellings of the secrets of these apps and of the platform."""
        return list_encodings([*self._platform, *(Secret(value) for name in names for value in self._values[name])])
