"""Paths on the server are for who can use them: callers on it, and admins. Others are told what is below its folders.

`/srv/apps/shop/src/a.js` is `shop/src/a.js` to them, and a backup has its name. What others wrote is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path as FilePath
from typing import Any

from ikoma.kernel.redaction.places import Path
from ikoma.kernel.redaction.redaction import QUOTING


class ServerPaths:
    """Takes the folders of this server out of texts.

    Args:
        folders: those that apps, backups and the server's own files are in.
    """

    def __init__(self, folders: Iterable[FilePath] = ()) -> None:
        found = sorted({str(folder) for folder in folders if len(folder.parts) > 1}, key=len, reverse=True)
        self._hint = [folder.encode() for folder in found]
        either = "|".join(map(re.escape, found)) or "(?!)"
        self._folders = re.compile(rf"(?<![\w./-])(?:{either})(?:/(?=[\w.])|(?![\w-]|\.\w))")

    def may_stand_in(self, body: bytes) -> bool:
        return any(folder in body for folder in self._hint)

    def cut(self, text: str) -> str:
        """The text with what is left of a path below its folder."""
        return self._folders.sub(lambda found: "" if found[0].endswith("/") else FilePath(found[0]).name, text)

    def cut_result(self, value: Any, foreign: Collection[Path], here: Path = ()) -> Any:
        """A result without them.

        Args:
            foreign: where in it stands what others wrote.
        """
        if here in foreign:
            return value
        if isinstance(value, str):
            return self.cut(value)
        if isinstance(value, list):
            return [self.cut_result(item, foreign, (*here, "*")) for item in value]
        if isinstance(value, dict):
            return {name: self.cut_result(item, foreign, (*here, name)) for name, item in value.items()}
        return value

    def cut_details(self, value: Any) -> Any:
        """Details of a failure without them."""
        if isinstance(value, str):
            return self.cut(value)
        if isinstance(value, list | tuple):
            return [self.cut_details(item) for item in value]
        if isinstance(value, dict):
            return {name: item if name in QUOTING else self.cut_details(item) for name, item in value.items()}
        return value
