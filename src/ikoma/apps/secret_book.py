"""Every secret value that IKOMA knows: of the apps' `.env` files, of their databases, webhooks and
repositories, of the platform.

Files are looked at again when they change: those of the app that a call is about at every call, the others every
other second. A value that was replaced stays known, because containers that run may still say it.

Short values are hidden from those whose key reaches the app. From others only what cannot be guessed is hidden: whoever
can make the server say what they like (SQL can) would see by the stars which of their guesses is another app's PIN.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from ikoma.apps import credentials, environment, hooks, source_access
from ikoma.apps.folder import App, Apps
from ikoma.apps.release import Releases
from ikoma.errors import IkomaError
from ikoma.kernel.callers import reaches
from ikoma.kernel.redaction import Known, forms
from ikoma.model import AppName, Secret

_LOOK_SECONDS = 2.0
_MOST_OLD = 5000
_LIKE_A_SECRET = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|PRIVATE|SALT|AUTH|PIN", re.IGNORECASE)
_SHORT = 4
_UNGUESSABLE = 16
"""Characters, from which on a value is hidden everywhere."""
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_WORDS = frozenset(
    (
        *("healthy", "unhealthy", "starting", "stopped", "unknown", "running", "exited", "created", "paused"),
        *("restarting", "removing", "success", "error", "started", "succeeded", "failed", "cancelled", "interrupted"),
        *("observer", "operator", "builder", "admin", "reads", "changes", "destroys", "pending", "approved", "denied"),
        *("expired", "postgres", "postgresql", "localhost", "production", "development", "staging", "testing"),
        *("true", "false", "null", "dead", "used", "disabled", "enabled", "default", "utf-8", "base64", "ikoma"),
        *("docker", "compose", "node", "python", "static", "dockerfile"),
    )
)
"""What IKOMA's own answers are made of: hidden, it would hide nothing and break them."""

_Stamp = tuple[tuple[int, int, int] | None, ...]


class SecretBook:
    """Knows secrets.

    Args:
        platform: the platform's own.
    """

    def __init__(self, apps: Apps, platform: Iterable[Secret]) -> None:
        self._apps = apps
        self._platform = [secret for secret in platform if secret.reveal()]
        self._stamps: dict[str, _Stamp] = {}
        self._values: dict[str, dict[str, None]] = {}
        self._looked = 0.0
        self._long: Known | None = None
        self._known: dict[tuple[str, ...], Known] = {}

    def __call__(self, app: str | None, reach: tuple[str, ...] = ()) -> Known:
        """What is known now and to be hidden from one who reaches these apps (globs; none: all)."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            for name in self._apps.names():
                self._look(self._apps.at(name))
        elif app is not None:
            self._look(self._apps.at(AppName(app)))
        if (known := self._known.get(reach)) is None:
            known = self._known[reach] = self._gather(reach)
        return known

    def _look(self, app: App) -> None:
        """Read an app's secrets again where a file has changed."""
        stamp = tuple(map(_stamp, _files(app)))
        if stamp == self._stamps.get(app.name):
            return
        self._stamps[app.name] = stamp
        known = self._values.setdefault(app.name, {})
        before = len(known)
        known.update(dict.fromkeys(_of_app(app)))
        while len(known) > _MOST_OLD:
            del known[next(iter(known))]
        if len(known) != before:
            self._long = None
            self._known.clear()

    def _gather(self, reach: tuple[str, ...]) -> Known:
        if self._long is None:
            everything = self._forms(self._values)
            self._long = Known.of([text for text in everything if len(text) >= _UNGUESSABLE])
        reached = self._forms([name for name in self._values if reaches(name, reach)])
        # The long ones go first: one may hold a short one.
        return self._long + Known.of([text for text in reached if len(text) < _UNGUESSABLE])

    def _forms(self, names: Iterable[str]) -> tuple[str, ...]:
        """Of the secrets of these apps and of the platform."""
        words = _WORDS | {str(name) for name in self._apps.names()}
        values = [value for name in names for value in self._values[name] if value.lower() not in words]
        return forms([*self._platform, *map(Secret, values)])


def _of_app(app: App) -> Iterator[str]:
    for source in (_of_env_file, _of_releases, _of_database, _of_hook, _of_source):
        with suppress(IkomaError, OSError, ValueError):  # what cannot be read now is read when it changes
            yield from source(app)


def _of_env_file(app: App) -> Iterator[str]:
    yield from _secret(environment.read_leniently(app))


def _of_releases(app: App) -> Iterator[str]:
    for release in (releases := Releases(app)).recent():
        yield from _secret(releases.given(release))


def _of_database(app: App) -> Iterator[str]:
    if (owned := credentials.find(app)) is not None:
        yield owned.password.reveal()


def _of_hook(app: App) -> Iterator[str]:
    if (hook := hooks.find(app)) is not None:
        yield from (secret.reveal() for secret in hook.secrets)


def _of_source(app: App) -> Iterator[str]:
    yield from (token.secret.reveal() for token in source_access.tokens(app).values())


def _secret(values: Mapping[str, str]) -> Iterator[str]:
    yield from (secret.reveal() for secret in environment.secret_values(values))
    for name, value in values.items():
        if len(value) >= _SHORT and _LIKE_A_SECRET.search(name):
            yield value
        yield from (found for found in _IN_ADDRESS.findall(value) if len(found) >= _SHORT)


@lru_cache(maxsize=1000)
def _files(app: App) -> tuple[str, ...]:
    """What holds an app's secrets, or changes when they do. This is asked at every call."""
    return tuple(
        map(
            str,
            (
                app.env_file,
                app.state / "database.json",
                app.state / hooks.FILE,
                app.state / source_access.FILE,
                app.state / "releases",
            ),
        )
    )


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
