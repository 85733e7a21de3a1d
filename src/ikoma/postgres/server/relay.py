"""Hands on what two connections say to each other."""

from __future__ import annotations

import asyncio
from contextlib import suppress

_PIECE = 64 << 10

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def relay(near: Streams, far: Streams) -> None:
    """Hand on what each of the two sides says, until one of them has ended. The writers stay the caller's to close."""
    passing = [asyncio.ensure_future(way) for way in (_pass_on(near[0], far[1]), _pass_on(far[0], near[1]))]
    try:
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in passing:
            task.cancel()
        await asyncio.wait(passing)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
