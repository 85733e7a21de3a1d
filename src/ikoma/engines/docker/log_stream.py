"""A container's output over Docker's API: its last lines, or each line as it comes. Lines are whole: whoever shows
them takes secrets out first, and cuts then."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiodocker
import aiohttp

from ikoma.engines.docker import log_lines
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT
from ikoma.engines.docker.log_lines import FRAME, LONGEST, LineAssembler, is_framed
from ikoma.ports.runtime import LogLine

_MOST_PIECES = 20_000


async def read_last_lines(api: DockerApi, identity: str, *, tail: int, since: float | None) -> list[LogLine]:
    """The last lines of both streams, oldest first; none where the container is gone or keeps no log."""
    asked = tail + 2  # the first of each stream may be a half, and is left out
    async with api.connect() as docker:
        while True:
            parameters = _make_parameters(since) | {"tail": str(asked)}
            try:
                async with docker._query(f"containers/{identity}/logs", params=parameters) as response:
                    output = await response.read()
            except aiodocker.DockerError as error:
                if error.status == COULD_NOT_CONNECT:
                    raise
                return []
            lines, whole = log_lines.select_last(output, asked)
            if whole or len(lines) >= tail or asked >= _MOST_PIECES:
                return lines[-tail:]
            asked = min(4 * asked, _MOST_PIECES)  # some are of many pieces


async def follow(api: DockerApi, identity: str, *, since: float | str) -> AsyncIterator[LogLine]:
    """Each line from a moment on, until the container ends or the caller stops asking; the last may have no end."""
    endless = aiohttp.ClientTimeout(total=None, sock_connect=4.0)
    parameters = _make_parameters(since) | {"follow": "1"}
    async with api.connect() as docker:
        try:
            response = await docker._do_query(f"containers/{identity}/logs", "GET", params=parameters, timeout=endless)
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return
    lines = LineAssembler()
    try:
        async for stream, piece in _read_pieces(response):
            for _, line in lines.take_raw(piece) if stream is None else lines.take(stream, piece):
                if line.text:
                    yield line
        for _, line in lines.take_rest():
            if line.text:
                yield line
    except aiohttp.ClientError:
        return  # the engine has gone: whoever follows looks for the container again
    finally:
        response.close()


def _make_parameters(since: float | str | None) -> dict[str, str]:
    asked = {"stdout": "1", "stderr": "1", "timestamps": "1"}
    if since is None:
        return asked
    return asked | {"since": since if isinstance(since, str) else f"{since:.9f}"}


async def _read_pieces(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[int | None, bytes]]:
    """Stream and content of each piece as it comes; of a terminal, None and each line."""
    buffer = b""
    framed: bool | None = None
    async for chunk in response.content.iter_any():
        buffer += chunk
        if framed is None and len(buffer) >= FRAME:
            framed = is_framed(buffer)
        while framed and len(buffer) >= FRAME:
            size = int.from_bytes(buffer[4:FRAME])
            if len(buffer) < FRAME + size:
                break
            yield buffer[0], buffer[FRAME : FRAME + size]
            buffer = buffer[FRAME + size :]
        if framed is False:
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                yield None, line + b"\n"
            buffer = buffer[: 2 * LONGEST]  # the rest of a line that is too long is not shown
    if framed is False and buffer:
        yield None, buffer
