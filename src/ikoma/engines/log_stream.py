"""A container's output over Docker's API: its last lines, or each line as it comes.

Docker puts a frame around every piece of the two streams, except where the container has a terminal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiodocker
import aiohttp

from ikoma.engines.docker_api import COULD_NOT_CONNECT, DockerApi, demultiplexed
from ikoma.engines.readable import readable
from ikoma.ports import LogLine

_FRAME = 8
_LONGEST = 8192
_CUT = " …[cut]"


async def last_lines(api: DockerApi, identity: str, *, tail: int, since: float | None) -> list[LogLine]:
    """The last lines of both streams, oldest first; none where the container is gone or keeps no log."""
    parameters = _parameters(since) | {"tail": str(tail)}
    async with api.client() as docker:
        try:
            async with docker._query(f"containers/{identity}/logs", params=parameters) as response:
                output = await response.read()
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return []
    text = demultiplexed(output).decode(errors="replace")
    return [_line(part) for part in text.split("\n") if part][-tail:]


async def follow(api: DockerApi, identity: str, *, since: float) -> AsyncIterator[LogLine]:
    """Each line from a moment on, until the container ends or the caller stops asking."""
    endless = aiohttp.ClientTimeout(total=None, sock_connect=4.0)
    parameters = _parameters(since) | {"follow": "1"}
    async with api.client() as docker:
        try:
            response = await docker._do_query(f"containers/{identity}/logs", "GET", params=parameters, timeout=endless)
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return
    pending = b""
    try:
        async for piece in _pieces(response):
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if line:
                    yield _line(line.decode(errors="replace"))
            if len(pending) > 4 * _LONGEST:
                yield _line(pending.decode(errors="replace"))
                pending = b""
    except aiohttp.ClientError:
        return  # the engine has gone: whoever follows looks for the container again
    finally:
        response.close()


def _parameters(since: float | None) -> dict[str, str]:
    asked = {"stdout": "1", "stderr": "1", "timestamps": "1"}
    return asked if since is None else asked | {"since": f"{since:.9f}"}


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    buffer = b""
    framed: bool | None = None
    async for chunk in response.content.iter_any():
        buffer += chunk
        if framed is None and len(buffer) >= _FRAME:
            framed = buffer[0] in (0, 1, 2) and buffer[1:4] == b"\0\0\0"
        while framed and len(buffer) >= _FRAME:
            size = int.from_bytes(buffer[4:_FRAME])
            if len(buffer) < _FRAME + size:
                break
            yield buffer[_FRAME : _FRAME + size]
            buffer = buffer[_FRAME + size :]
        if framed is False:
            yield buffer
            buffer = b""


def _line(text: str) -> LogLine:
    stamp, _, said = text.rstrip("\r").partition(" ")
    said = readable(said)
    return LogLine(stamp, said if len(said) <= _LONGEST else said[:_LONGEST] + _CUT)
