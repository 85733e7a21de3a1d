"""A way to the server for PostgreSQL's own programs while they read what a stranger wrote.

They run sealed (sealed_exec.py), as a user who owns nothing, and reach the one socket file that is made for them: what
they send there goes on to the server, and they have no other way out.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.errors import SandboxMissing
from ikoma.postgres.backup import sealed_exec
from ikoma.postgres.server.relay import relay
from ikoma.postgres.server.server import LOOPBACK
from ikoma.users import NOBODY

_PREFIX = "ikoma-sandbox-"
_PORT = 5432


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Connection parameters as they are inside, and who runs there."""

    parameters: Mapping[str, Any]

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command by way of what seals it; the program by its path."""
        return [sys.executable, "-I", "-S", str(Path(sealed_exec.__file__)), str(NOBODY), *argv]

    def check(self, code: int, said: Sequence[str]) -> None:
        """Refuse what could not be sealed.

        Raises:
            SandboxMissing: the program never ran.
        """
        if code == sealed_exec.FAILED:
            raise SandboxMissing(f"There is no sandbox on this machine: {said[-1] if said else 'it does not start'}.")


@asynccontextmanager
async def open_sandbox(parameters: Mapping[str, Any]) -> AsyncIterator[Sandbox]:
    """A sandbox for the block, whose one way out leads to the server of these parameters.

    Raises:
        SandboxMissing: the server is on another machine: the way there would be a network's.
    """
    if parameters["host"] not in LOOPBACK:
        raise SandboxMissing("PostgreSQL is on another machine, and a sandbox without a network does not reach it.")
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        door = Path(name, f".s.PGSQL.{_PORT}")
        serving: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            serving.add(task)
            with suppress(OSError, asyncio.CancelledError):
                await _join(reader, writer, parameters["host"], int(parameters["port"]))
            writer.close()

        server = await asyncio.start_unix_server(serve, door)
        try:
            if os.geteuid() == 0:
                for path in (Path(name), door):
                    os.chown(path, NOBODY, NOBODY)
            yield Sandbox({**parameters, "host": name, "port": _PORT})
        finally:
            server.close()
            for task in serving:
                task.cancel()
            if serving:
                await asyncio.wait(serving)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Connect one who came in to the server, until one of the two has ended."""
    far = await asyncio.open_connection(host, port)
    try:
        await relay((reader, writer), far)
    finally:
        far[1].close()
