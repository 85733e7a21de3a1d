"""A person's shell beside a server whose folders lie under a root of their own.

Paths, ports and the addresses of git hosts are those of the documentation on this side, and the server's own on the
other. curl finds the proxy by its configuration, as it would by DNS.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from threading import Thread

from tests.docs.page import ROOT
from tests.images import busybox_image
from tests.support import IKOMA, Server

PATHS = re.compile(r"(?<![\w/])/(?:srv/apps|opt/ikoma|var/lib/ikoma|var/log/ikoma|var/backups/ikoma)\b")
COLUMNS = 160  # wide enough that no path is broken
SET_UP = 'set -a; cd "$(cat "$STATE/cwd" 2>/dev/null || pwd)"; [ ! -f "$STATE/env" ] || . "$STATE/env"'
KEEP = 'export -p | grep -v " STATE=" > "$STATE/env"; pwd > "$STATE/cwd"'


@dataclass
class Shell:
    """Variables and folder that one command leaves, the next one finds."""

    server: Server
    home: Path
    addresses: dict[str, str]
    """Address in the documentation → the one that stands for it here."""

    def __post_init__(self) -> None:
        env = self.server.env
        (self.home / "state").mkdir()
        for name in ("examples", "deploy"):
            (self.home / name).symlink_to(ROOT / name)
        way = {"80": env["PROXY_HTTP_PORT"], "443": env["PROXY_HTTPS_PORT"], "3000": str(self.server.port)}
        lines = [f'connect-to = ":{port}:127.0.0.1:{here}"' for port, here in way.items()]
        root = Path(env["IKOMA_STATE"]) / "proxy/data/pki/authorities/local/root.crt"
        (self.home / ".curlrc").write_text("\n".join([*lines, f'cacert = "{root}"', "silent", ""]))

    def run(self, command: str, timeout: float = 600, until: Callable[[str], bool] | None = None) -> tuple[int, str]:
        """The exit code, and what a person sees on a wide terminal, as the documentation would show it.

        Args:
            until: ends a command that would go on for ever, once it has printed this.
        """
        env = {
            **self.server.env,
            "HOME": str(self.home),
            "STATE": str(self.home / "state"),
            "PATH": f"{IKOMA.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": str(COLUMNS),
            "BUSYBOX": busybox_image(),
        }
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        script = f"{SET_UP}\ntrap {shlex.quote(KEEP)} EXIT\nset -o pipefail\n{self._here(command)}"
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.home,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(slave)
        seen: list[bytes] = []
        deadline = time.monotonic() + timeout
        reader = Thread(target=_read, args=(master, seen))
        reader.start()
        while until and process.poll() is None and time.monotonic() < deadline and not until(self.shown(_text(seen))):
            time.sleep(0.1)
        try:
            _, errors = process.communicate(timeout=0 if until else timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            _, errors = process.communicate()
        reader.join()
        said = [
            line for line in errors.decode(errors="replace").splitlines() if not line.startswith(("… ", "Terminated"))
        ]
        return process.returncode, self.shown("\n".join([_text(seen).rstrip("\n"), *said]).lstrip("\n"))

    def _here(self, command: str) -> str:
        for shown, real in self.addresses.items():
            command = command.replace(shown, real)
        return PATHS.sub(lambda path: f"{self.server.folder}{path[0]}", command)

    def shown(self, text: str) -> str:
        """Return the server's words, as the documentation shows them."""
        for shown, real in self.addresses.items():
            if "://" in real:
                text = text.replace(real, shown)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace(str(self.server.folder), ""))
        for name in ("PROXY_HTTP_PORT", "PROXY_HTTPS_PORT"):
            text = text.replace(f":{self.server.env[name]}", "")
        lines = text.replace(f":{self.server.port}", ":3000").splitlines()
        return "\n".join(line.rstrip() for line in lines).rstrip()


def _text(seen: list[bytes]) -> str:
    return b"".join(seen).decode(errors="replace").replace("\r\n", "\n")


def _read(master: int, seen: list[bytes]) -> None:
    try:
        while piece := os.read(master, 65536):
            seen.append(piece)
    except OSError:
        pass  # the other side is closed
    finally:
        os.close(master)
