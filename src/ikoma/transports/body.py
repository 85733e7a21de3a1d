"""Reads a request's body as the JSON object it should be.

The content type is not looked at, and raw newlines and tabs inside strings are taken: people paste SQL files into
JSON with a shell. What does not fit the limit is refused before it is read.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson
from starlette.types import Receive, Scope

from ikoma.errors import BodyTooLarge, MalformedRequest, TooManyConnections

Body = bytes | mmap.mmap
"""As it came: in memory, or a large one in a file."""

SMALL = 1 << 20
_MOST_LARGE = 8


async def read_object(scope: Scope, receive: Receive, limit: int) -> Mapping[str, Any]:
    """The body as an object; an empty body is an empty object.

    Args:
        limit: the most bytes it may have.

    Raises:
        BodyTooLarge, MalformedRequest
    """
    return parse_object(await read_body(scope, receive, limit))


def parse_object(body: bytes) -> Mapping[str, Any]:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _parse_leniently(body)
    if not isinstance(value, dict):
        raise MalformedRequest("The body is JSON, but not an object.")
    return value


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body as it came, of at most `limit` bytes."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > limit:
        raise BodyTooLarge(f"The body has {int(declared)} bytes; this call takes at most {limit}.")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequest("The client went away before it had sent the whole body.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


class LargeBodies:
    """Takes bodies of which few may be large: those wait on the disk, in a file without a name, and not in memory.

    Args:
        folder: where there is room.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = 0

    @asynccontextmanager
    async def read(self, scope: Scope, receive: Receive, limit: int) -> AsyncIterator[Body]:
        """The body as it came, of at most `limit` bytes, for as long as the block lasts.

        Raises:
            BodyTooLarge, MalformedRequest
            TooManyConnections: as many large ones as there may be are on their way.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(declared) > limit:
            raise BodyTooLarge(f"The body has {int(declared)} bytes; webhooks take at most {limit}.")
        small = bytearray()
        large: IO[bytes] | None = None
        size, has_more = 0, True
        try:
            while has_more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise MalformedRequest("The client went away before it had sent the whole body.")
                piece, has_more = message.get("body", b""), message.get("more_body", False)
                size += len(piece)
                if size > limit:
                    raise BodyTooLarge(f"The body has more than {limit} bytes.")
                if large is None and size > SMALL:
                    large = self._begin(small)
                (small.extend if large is None else large.write)(piece)
            if large is None:
                yield bytes(small)
            else:
                large.flush()
                with mmap.mmap(large.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    yield mapped
        finally:
            if large is not None:
                large.close()
                self._open -= 1

    def _begin(self, small: bytearray) -> IO[bytes]:
        if self._open >= _MOST_LARGE:
            raise TooManyConnections(f"{_MOST_LARGE} large bodies are on their way.", hint="Send it again in a moment.")
        large = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the caller closes it
        self._open += 1
        large.write(small)
        small.clear()
        return large


def _parse_leniently(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8"), strict=False, parse_constant=_refuse_constant)
        orjson.dumps(value)  # refuses what could not be written again, such as half a surrogate pair
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            line=error.lineno,
            column=error.colno,
        ) from None
    except RecursionError:
        raise MalformedRequest("The body is nested too deeply.") from None
    except (ValueError, TypeError):
        raise MalformedRequest("The body holds a number or text that JSON cannot carry.") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
