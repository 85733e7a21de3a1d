"""Files that say where each app's requests go. Caddy reads them again for every request and every try.

A switch is one file that is replaced whole: no connection ends, and it holds while IKOMA is away. Caddy's user may
read these files, IKOMA alone writes them.

    APP/side              blue, green, down or maintenance
    APP/blue.addresses    where the release on that side answers, a line each
    APP/blue.0, blue.1 …  the address that each upstream of that side leads to now
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ikoma.durable import make_folder, sweep, write_file
from ikoma.model import AppName
from ikoma.ports.proxy import Side

FOLDER = "apps"
SERVING = (Side.BLUE, Side.GREEN)
_COUNT = "slots"
"""The file that says how many upstreams a side has, named as versions before named it."""
_NOWHERE = "127.0.0.1:0"  # a port that nobody can listen on: connecting fails at once, and the request waits
_ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def make_side_template(app: AppName) -> str:
    """The text that Caddy replaces with the side that serves. Paths are relative to the folder that Caddy runs in."""
    return f"{{file.{FOLDER}/{app}/side}}"


def make_upstream_template(app: AppName, side: Side, number: int) -> str:
    """The text that Caddy replaces with the address of an upstream, and counts its requests by."""
    return f"{{file.{FOLDER}/{app}/{side.value}.{number}}}"


class Sides:
    """The files of all apps, in one folder under the proxy's."""

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER

    def prepare(self, app: AppName, upstreams: int) -> None:
        """Have a file for each upstream that the configuration will name: a missing one would be an error to Caddy."""
        if self._has(app) and self._count_upstreams(app) == upstreams:
            return
        make_folder(self._root, 0o711)
        if not make_folder(self._root / app, 0o711):
            sweep(self._root / app)
        self._write(app, "side", self.find_side(app).value)
        self._lay_out(app, self.find_side(app), upstreams)
        self._write(app, _COUNT, str(upstreams))  # last: it says that all the others are there

    def set_upstreams(self, app: AppName, side: Side, addresses: Sequence[str]) -> None:
        for address in addresses:
            found = _ADDRESS.fullmatch(address)
            if found is None or not 0 < int(found[2]) < 65536:
                raise ValueError(f"{address!r} is no host:port")
        self._ensure(app)
        self._write(app, f"{side.value}.addresses", "\n".join(addresses))
        self._lay_out(app, self.find_side(app), self._count_upstreams(app))

    def list_upstreams(self, app: AppName, side: Side) -> Sequence[str]:
        with suppress(FileNotFoundError):
            known = (self._root / app / f"{side.value}.addresses").read_text()
            return known.split("\n") if known else [_NOWHERE]
        return [_NOWHERE]

    def switch(self, app: AppName, side: Side) -> None:
        self._ensure(app)
        if side in SERVING:
            self._fill(app, side, self.list_upstreams(app, side), self._count_upstreams(app))
        self._write(app, "side", side.value)
        self._lay_out(app, side, self._count_upstreams(app))

    def find_side(self, app: AppName) -> Side:
        with suppress(FileNotFoundError, ValueError):
            return Side((self._root / app / "side").read_text())
        return Side.DOWN

    def forget(self, app: AppName) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / app)

    def _ensure(self, app: AppName) -> None:
        if not self._has(app):
            self.prepare(app, 1)

    def _has(self, app: AppName) -> bool:
        return (self._root / app / _COUNT).is_file()

    def _lay_out(self, app: AppName, serving: Side, upstreams: int) -> None:
        """Let each upstream lead where it should while `serving` serves.

        The upstreams of the other side lead to the serving one as well: a request that waits for a container of the old
        release, or was about to connect to it when the switch came, is answered by the new one.
        """
        for side in SERVING:
            self._fill(app, side, self.list_upstreams(app, serving if serving in SERVING else side), upstreams)

    def _fill(self, app: AppName, side: Side, addresses: Sequence[str], upstreams: int) -> None:
        for number in range(upstreams):
            self._write(app, f"{side.value}.{number}", addresses[number % len(addresses)])

    def _count_upstreams(self, app: AppName) -> int:
        return int((self._root / app / _COUNT).read_text())

    def _write(self, app: AppName, name: str, content: str) -> None:
        path = self._root / app / name
        if not path.is_file() or path.read_text() != content:
            write_file(path, content, mode=0o644)
