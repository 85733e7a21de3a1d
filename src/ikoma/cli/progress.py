"""The progress of long work, on stderr: on a terminal one place that changes, elsewhere a line for each step.

The last line of a build or of a command stands below its step.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ikoma.cli import output
from ikoma.cli.blocks import measure_width
from ikoma.cli.words import clean

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TICK = 0.1
_BAR = 16


class ProgressDisplay:
    """Told of each step: its message, and how far it is (0..1, or None)."""

    def __call__(self, message: str, fraction: float | None) -> None:
        if " | " not in message:  # lines of a build are for those who watch
            click.echo(f"… {clean(message)}", err=True)

    def close(self) -> None:
        """Leave nothing behind that moves."""


class _MovingDisplay(ProgressDisplay):
    """One line that moves, and below it the last line of what is being built."""

    def __init__(self, columns: int, colour: bool) -> None:
        self._columns, self._colour = columns, colour
        self._began = time.monotonic()
        self._message, self._detail = "starting", ""
        self._fraction: float | None = None
        self._drawn = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, daemon=True)
        self._thread.start()

    def __call__(self, message: str, fraction: float | None) -> None:
        step, separator, line = message.partition(" | ")
        with self._lock:
            if separator:
                self._detail = clean(line)
            else:
                self._message, self._detail, self._fraction = clean(step), "", fraction
            self._draw()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._erase()
            sys.stderr.flush()

    def _keep_drawing(self) -> None:
        while not self._ended.wait(_TICK):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        seconds = int(time.monotonic() - self._began)
        spin = _FRAMES[int(time.monotonic() / _TICK) % len(_FRAMES)]
        bar = "" if self._fraction is None else f" {_draw_bar(self._fraction)}"
        tail = f"{bar} {seconds // 60}:{seconds % 60:02}"
        lines = [f"{spin} {_fit(self._message, self._columns - len(tail) - 3)}{tail}"]
        if self._detail:
            detail = _fit(self._detail, self._columns - 5)
            lines.append(f"  | {click.style(detail, dim=True) if self._colour else detail}")
        self._erase()
        sys.stderr.write("\n".join(lines))
        sys.stderr.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write("\r" + "\x1b[1A".join(["\x1b[2K"] * self._drawn))
        self._drawn = 0


@contextmanager
def progress_bar() -> Iterator[ProgressDisplay]:
    """Shows progress for as long as the block takes."""
    sheet = output.make_paper(sys.stderr)
    moves = sheet.people and os.environ.get("TERM", "dumb") != "dumb"
    made = _MovingDisplay(sheet.width, sheet.colour) if moves else ProgressDisplay()
    try:
        yield made
    finally:
        made.close()


def _draw_bar(fraction: float) -> str:
    filled = round(max(0.0, min(fraction, 1.0)) * _BAR)
    return "━" * filled + "╌" * (_BAR - filled)


def _fit(text: str, columns: int) -> str:
    if measure_width(text) <= columns:
        return text
    while text and measure_width(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"
