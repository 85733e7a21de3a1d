"""The bytes that come on stdin: a pipe's, a file's, or what a person types at a terminal."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ikoma.cli import output

MOST = 32 << 20
"""Bytes that are read of a file or of stdin, and one more: the server refuses what is larger, and says so."""
_PIECE = 1 << 16


def read_input(typed: str = "") -> bytes:
    """Read stdin to its end, at most `MOST` bytes and one more.

    Args:
        typed: what a person at a terminal is asked to type; nobody is asked where it is empty.

    Raises:
        click.UsageError: stdin is closed, or cannot be read.
    """
    if sys.stdin is None:
        raise click.UsageError("There is nothing on stdin: it is closed.")
    if typed and output.is_terminal(sys.stdin):
        click.echo(f"Type the {typed}; Ctrl-D ends it.", err=True)
    try:
        return _read(sys.stdin.fileno())
    except OSError as error:
        raise click.UsageError(f"stdin cannot be read: {error.strerror}.") from None


def read_text(typed: str = "") -> str:
    """Read stdin as `read_input` does: text in UTF-8, whose lines end as they do here."""
    content = read_input(typed)
    if len(content) > MOST:
        raise click.UsageError(f"stdin holds more than {MOST:,} bytes.")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError:
        raise click.UsageError("stdin holds something else than text in UTF-8.") from None


def _read(descriptor: int) -> bytes:
    read = bytearray()
    with _hear_signals() as signals:
        while len(read) <= MOST:
            # A Ctrl-C that comes just before a read begins would be lost: Python's read goes on. This notices it.
            if signals in select.select([descriptor, signals], [], [])[0]:
                os.read(signals, 1)
                continue
            piece = os.read(descriptor, min(_PIECE, MOST + 1 - len(read)))
            if not piece:
                break
            read += piece
    return bytes(read)


@contextmanager
def _hear_signals() -> Iterator[int]:
    """Yield a descriptor that can be read as soon as a signal has come, also one that Python has not acted on yet."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(former)
        os.close(reading)
        os.close(writing)
