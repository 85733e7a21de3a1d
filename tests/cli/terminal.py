"""A pseudo-terminal in which the real `ikoma` runs, and what a person sees on its screen in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support import IKOMA

COLUMNS = 80
CTRL_C = b"\x03"
CTRL_D = b"\x04"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_MOVE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


@dataclass
class Terminal:
    """`ikoma` with these arguments in a terminal of so many columns.

    It is a session leader, so that Ctrl-C reaches it as it reaches a person's.
    """

    arguments: Sequence[str]
    env: Mapping[str, str]
    columns: int = COLUMNS
    colours: bool = False
    more: Mapping[str, str] = field(default_factory=dict)
    written: bytes = b""
    _process: subprocess.Popen[bytes] = field(init=False)
    _master: int = field(init=False)

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self.columns, 0, 0))
        env = {**self.env, "TERM": "xterm-256color"} | ({} if self.colours else {"NO_COLOR": "1"}) | self.more
        self._process = subprocess.Popen(
            [IKOMA, *self.arguments],
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until(self, text: str, seconds: float = 90) -> None:
        """Read until this was written."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.written:
            assert time.monotonic() < deadline, f"{text!r} did not come; there is\n{self.screen()}"
            assert self._read(1.0), f"it ended without {text!r}:\n{self.screen()}"

    def end(self, seconds: float = 120) -> int:
        """Read until it ends; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(1.0):
            assert time.monotonic() < deadline, f"it has not ended; there is\n{self.screen()}"
        return self._process.wait(timeout=90)

    def screen(self) -> str:
        """The lines that are there in the end, as if the terminal were high enough for all."""
        return screen(self.written)

    def _read(self, seconds: float) -> bool:
        """Whether there may be more."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self._master, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self.written += piece
        return bool(piece)


def screen(written: bytes) -> str:
    """Return what is left of what was written: lines that were erased and written again count once."""
    text = _STYLE.sub("", written.decode(errors="replace"))
    lines, row, column, place = [""], 0, 0, 0
    while place < len(text):
        if move := _MOVE.match(text, place):
            count = int(move[1] or 1)
            if move[2] == "A":
                row = max(0, row - count)
            elif move[2] == "K":
                lines[row], column = "", 0
            place = move.end()
            continue
        letter = text[place]
        place += 1
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + letter + lines[row][column + 1 :]
            column += 1
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"
