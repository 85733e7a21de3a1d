"""The secrets in each app's files, ready to be looked for: whatever quotes an app's programs asks here.

Files are asked at every call whether they have changed, and read again only then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.secrets import app_secrets
from ikoma.apps.source import access, webhook
from ikoma.kernel.redaction.redaction import KnownSecrets, list_encodings
from ikoma.model import AppName, Secret

_Stamp = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class SecretsOfApp:
    """The secrets of one app; the same object for as long as its files are the same."""

    stamp: _Stamp
    values: Sequence[Secret]

    @cached_property
    def known(self) -> KnownSecrets:
        return KnownSecrets.of(list_encodings(self.values))


class SecretFiles:
    """Knows the secrets in the files of apps."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self._found: dict[App, SecretsOfApp] = {}

    def __call__(self, name: AppName) -> KnownSecrets:
        """Find the secrets of one app, in every form."""
        return self.find(self.apps.locate(name)).known

    def find(self, app: App) -> SecretsOfApp:
        """Find the secrets of one app as its files have them now."""
        stamp = tuple(map(_read_stamp, _list_files(app)))
        found = self._found.get(app)
        if found is None or found.stamp != stamp:
            found = self._found[app] = SecretsOfApp(stamp, app_secrets.find_of_app(app))
        return found


@lru_cache(maxsize=1000)
def _list_files(app: App) -> tuple[str, ...]:
    """List the files that hold an app's secrets, or change when they do. This is asked at every call."""
    return tuple(
        map(
            str,
            (
                app.env_file,
                app.state / "env",
                app.state / "database.json",
                app.state / webhook.FILE,
                app.state / access.FILE,
                *(app.state, app.state / "releases"),  # each deploy changes them
            ),
        )
    )


def _read_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
