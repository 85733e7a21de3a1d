"""The way out for backups: `GET /downloads/TOKEN`, with ranges, for what `backup.download` has given out.

The token is the proof: who has it got it from a call that was allowed, and audited. No answer is kept by a proxy.
"""

from __future__ import annotations

import asyncio
import re

from starlette.types import Receive, Scope, Send

from ikoma.apps.backups.downloads import BackupDownloads, PackedBackup
from ikoma.errors import IkomaError, MethodNotAllowed
from ikoma.transports import headers

PREFIX = "/downloads/"
_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


class DownloadEndpoint:
    """GET and HEAD /downloads/TOKEN."""

    def __init__(self, downloads: BackupDownloads) -> None:
        self._downloads = downloads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed(f"{scope['method']} downloads nothing.")
            packed = self._downloads.find(scope["path"].removeprefix(PREFIX))
            await asyncio.to_thread(packed.require_there)
        except IkomaError as error:
            await headers.refuse(send, error)
            return
        given = dict(scope["headers"])
        span = _find_span(given, packed)
        if span is None:
            unfit = [(b"content-range", b"bytes */%d" % packed.size), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 416, "headers": unfit})
            await send({"type": "http.response.body", "body": b""})
            return
        start, end = span
        status = 200 if end - start == packed.size else 206
        await send({"type": "http.response.start", "status": status, "headers": _describe(packed, start, end)})
        if scope["method"] == "GET":
            async for piece in packed.stream(start, end):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _find_span(given: headers.Headers, packed: PackedBackup) -> tuple[int, int] | None:
    """The bytes that are asked for, from the first to before the last; None where the backup has none of them.

    What is no single range, or is of another file, is as if it were not there (RFC 9110).
    """
    whole = 0, packed.size
    asked = _RANGE.fullmatch(given.get(b"range", b""))
    if asked is None or asked[0] == b"bytes=-" or given.get(b"if-range", _tag(packed)) != _tag(packed):
        return whole
    first, last = asked[1], asked[2]
    if not first:
        start, end = max(packed.size - int(last), 0), packed.size
    else:
        start, end = int(first), min(int(last) + 1, packed.size) if last else packed.size
    return (start, end) if start < end else None


def _describe(packed: PackedBackup, start: int, end: int) -> list[tuple[bytes, bytes]]:
    described = [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", f'attachment; filename="{packed.name}"'.encode()),
        (b"content-length", b"%d" % (end - start)),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"no-store"),
        (b"etag", _tag(packed)),
    ]
    if end - start != packed.size:
        described.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, packed.size)))
    return described


def _tag(packed: PackedBackup) -> bytes:
    return f'"{packed.sha256}"'.encode()
