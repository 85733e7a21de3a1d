"""Retention of what IKOMA has set aside in an app's `.ikoma`, and lets go of in time.

What gave way at a deploy stays for 90 days, for a person to look at: no release and no call needs it.
What git has fetched goes after 30 days without a fetch; the next one brings it again.
(`replaced`, of checkouts that were told to overwrite, is a person's to remove.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ikoma.app_folder import App
from ikoma.durable import remove_tree

ASIDE_DAYS, FETCHED_DAYS = 90, 30
_FETCHED = ("source.git", "source-modules")
_DAY = 86_400


def tidy(app: App, *, now: float | None = None) -> list[Path]:
    """Let go of what is old enough; what has gone.

    Args:
        now: seconds since 1970.
    """
    moment = time.time() if now is None else now
    aside = _list_entries(app.state / "kept")
    fetched = [folder for name in _FETCHED if (folder := app.state / name).is_dir() and not folder.is_symlink()]
    gone = [entry for entry in aside if moment - _find_last_change(entry) > ASIDE_DAYS * _DAY]
    gone += [folder for folder in fetched if moment - _find_last_change(folder) > FETCHED_DAYS * _DAY]
    for path in gone:
        remove_tree(path)
    return gone


def _list_entries(folder: Path) -> list[Path]:
    """One for each release."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _find_last_change(top: Path) -> float:
    """Find the time when something was last put into a folder or one below it, in seconds since 1970."""
    return max(os.lstat(place).st_mtime for place, _, _ in os.walk(top))
