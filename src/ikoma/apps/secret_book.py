"""Every secret value that IKOMA knows: of the apps' `.env` files, of their databases and webhooks, of
the platform.

Files are looked at again when they change: those of the app that a call is about at every call, the others every
other second. A value that was replaced stays known, because containers that run may still say it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from ikoma.apps import credentials, environment, hooks
from ikoma.apps.folder import App, Apps
from ikoma.apps.release import Releases
from ikoma.errors import IkomaError
from ikoma.kernel.redaction import Known, forms
from ikoma.model import AppName, Secret

_LOOK_SECONDS = 2.0
_MOST_OLD = 5000
_LIKE_A_SECRET = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|PRIVATE|SALT|AUTH|PIN", re.IGNORECASE)
_SHORT = 4
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
        self._known: Known | None = None

    def __call__(self, app: str | None) -> Known:
        """What is known now."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            for name in self._apps.names():
                self._look(self._apps.at(name))
        elif app is not None:
            self._look(self._apps.at(AppName(app)))
        if self._known is None:
            self._known = self._gather()
        return self._known

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
            self._known = None

    def _gather(self) -> Known:
        words = _WORDS | {str(name) for name in self._apps.names()}
        values = [value for known in self._values.values() for value in known if value.lower() not in words]
        return Known.of(forms([*self._platform, *map(Secret, values)]))


def _of_app(app: App) -> Iterator[str]:
    for source in (_of_env_file, _of_releases, _of_database, _of_hook):
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
        yield hook.secret.reveal()


def _secret(values: Mapping[str, str]) -> Iterator[str]:
    yield from (secret.reveal() for secret in environment.secret_values(values))
    for name, value in values.items():
        if len(value) >= _SHORT and _LIKE_A_SECRET.search(name):
            yield value
        yield from (found for found in _IN_ADDRESS.findall(value) if len(found) >= _SHORT)


@lru_cache(maxsize=1000)
def _files(app: App) -> tuple[str, ...]:
    """What holds an app's secrets, or changes when they do. This is asked at every call."""
    return tuple(map(str, (app.env_file, app.state / "database.json", app.state / hooks.FILE, app.state / "releases")))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
