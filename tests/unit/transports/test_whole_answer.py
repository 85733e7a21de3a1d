"""Answers that are written at once are byte for byte those that uvicorn writes in two pieces."""

from __future__ import annotations

import asyncio
import re

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ikoma.transports.protocol import ConnectionLimits, bound

_ANSWERS = {
    "/plain": (200, [(b"content-type", b"text/plain"), (b"content-length", b"5")], [b"hello"]),
    "/other-case": (404, [(b"X-Odd", b"1"), (b"content-length", b"2")], [b"no"]),
    "/in-pieces": (200, [(b"content-length", b"10")], [b"hello", b"world"]),
    "/without-length": (200, [(b"content-type", b"text/plain")], [b"hello"]),
    "/empty": (204, [(b"content-length", b"0")], [b""]),
    "/close": (200, [(b"content-length", b"5"), (b"connection", b"close")], [b"hello"]),
    "/too-short": (200, [(b"content-length", b"9")], [b"hello"]),
    "/injected": (200, [(b"content-length", b"5"), (b"x-given", b"a\r\nb: c")], [b"hello"]),
}
_REQUESTS = [
    *(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in _ANSWERS),
    "HEAD /plain HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /plain HTTP/1.0\r\nHost: x\r\n\r\n",
    "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET /plain HTTP/1.1\r\nHost: x\r\n\r\nGET /other-case HTTP/1.1\r\nHost: x\r\n\r\n",
]


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    status, headers, pieces = _ANSWERS[scope["path"]]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for number, piece in enumerate(pieces, 1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})


async def _ask(protocol: type[HttpToolsProtocol], request: str) -> bytes:
    """All that comes for a request until the server, which has answered by then, is stopped."""
    wanted, done = request.count("HTTP/1."), asyncio.Semaphore(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _app(scope, receive, send)
        finally:
            done.release()

    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, port=0)
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    writer.write(request.encode())
    async with asyncio.timeout(60):
        for _ in range(wanted):
            await done.acquire()
        server.should_exit = True
        found = await reader.read()
        writer.close()
        await serving
    return found


@pytest.mark.parametrize("request_text", _REQUESTS)
def test_an_answer_is_the_one_that_uvicorn_would_write(request_text: str) -> None:
    ours = asyncio.run(_ask(bound(ConnectionLimits()), request_text))
    theirs = asyncio.run(_ask(HttpToolsProtocol, request_text))
    assert _comparable(ours) == _comparable(theirs)


def _comparable(answer: bytes) -> tuple[bytes, list[bytes]]:
    """An answer without its time; the order of headers means nothing."""
    answer = re.sub(rb"date: [^\r]*", b"date:", answer)
    return answer.rpartition(b"\r\n\r\n")[2], sorted(answer.rpartition(b"\r\n\r\n")[0].split(b"\r\n"))
