"""Apps on disk: the folders under APPS_ROOT."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ikoma.app_folder import App
from ikoma.durable import remove_tree, sweep
from ikoma.errors import AppNotFound, IkomaError, Next
from ikoma.model import AppName

log = logging.getLogger("ikoma")

_IN_THE_TRASH = "The trash keeps it: apps.restore brings it back. apps.init begins anew."


class Apps:
    """All apps under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list_names(self) -> list[AppName]:
        """List the names of all apps, sorted. Other folders and files under the root are passed over."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    try:
                        name = AppName.parse(entry.name)
                    except ValueError:
                        continue
                    if name.previewed is None or self.locate(name).exists:
                        found.append(name)
        return sorted(found)

    def sweep(self) -> None:
        """Remove the temporary files that killed processes left where IKOMA writes inside apps."""
        for name in self.list_names():
            with log_failures(name):
                _sweep(self.locate(name))

    def locate(self, name: AppName) -> App:
        """The app of that name, whether or not its folder exists."""
        return App(name, self.root / name)

    def find(self, name: AppName, visible: Callable[[str], bool] = lambda _: True) -> App:
        """Find the app of that name.

        Args:
            visible: which names may be suggested to this caller when there is none.

        Raises:
            AppNotFound: with the nearest name; or that it was removed, where the trash keeps a copy.
        """
        app = self.locate(name)
        if not app.exists:
            if visible(name) and (when := self._find_removal(name)):
                raise AppNotFound(
                    f"There is no app {name!r}: it was removed on {when}.",
                    hint=_IN_THE_TRASH,
                    next=Next("apps.restore"),
                )
            near = difflib.get_close_matches(name, [other for other in self.list_names() if visible(other)], n=1)
            raise AppNotFound(f"There is no app {name!r}.", guess=near[0] if near else None)
        return app

    def _find_removal(self, name: AppName) -> str | None:
        """Find the day on which an app of that name was removed last, if the trash keeps a copy of it."""
        form = re.compile(re.escape(name) + r"-([0-9]{4})([0-9]{2})([0-9]{2})-[0-9]{6}-[0-9a-f]{4}")
        trash = self.root / ".ikoma" / "trash"
        found = [match for path in trash.glob(f"{name}-*") if (match := form.fullmatch(path.name))]
        return "-".join(max(found, key=lambda match: match[0]).groups()) if found else None


def _sweep(app: App) -> None:
    releases = app.state / "releases"
    for doomed in app.state.glob("deleting-*"):
        remove_tree(doomed)
    for folder in (app.path, app.path / "config", app.state, releases, *releases.glob("*/")):
        if folder.is_dir() and not folder.is_symlink():
            sweep(folder)


@contextmanager
def log_failures(name: str) -> Iterator[None]:
    """Log a failure inside the block, so that what follows is done all the same."""
    try:
        yield
    except IkomaError as error:
        log.warning("%s: %s", name, error.message)
    except Exception:
        log.exception("%s: this should not have happened; the other apps go on", name)
