"""Small apps that answer as apps do, and clients that notice everything."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


class Backend:
    """An app on a port of loopback. It answers with its name, so that one sees who answered."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port
        self.requests: list[web.Request] = []
        self.lets_go = asyncio.Event()
        """Until then /held is not answered."""
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> Backend:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._note])
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/events", self._events)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/held", self._held)
        app.router.add_route("*", "/size", self._size)
        app.router.add_route("*", "/headers", self._headers)
        app.router.add_route("*", "/{path:.*}", self._name)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _name(self, request: web.Request) -> web.Response:
        headers = {"Server": "the-app", "Set-Cookie": "session=s3cret-cookie", "X-App": "yes"}
        return web.Response(text=self.name, headers=headers)

    async def _headers(self, request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    async def _size(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.Response(text=self.name)

    async def _held(self, request: web.Request) -> web.Response:
        await self.lets_go.wait()
        return web.Response(text=self.name)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{self.name}: {message.data}")
        return socket

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(10_000):
            await answer.write(f"data: {self.name} {number}\n\n".encode())
            await asyncio.sleep(0.05)
        return answer


class Rude:
    """An app that takes connections and ends each of the first few without an answer."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.tries = 0
        self.port = 0

    async def start(self) -> Rude:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.tries += 1
        if self.left > 0:
            self.left -= 1
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nrude\r\n")
        writer.close()


@dataclass
class Load:
    """Clients that send one request after the other, each on one connection that is kept for good."""

    port: int
    clients: int = 8
    pause: float = 0.005
    answers: list[tuple[float, bytes]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        self._running = True
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while self._running:
            began = time.monotonic()
            try:
                writer.write(b"GET /x HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
                return
            if not head.startswith(b"http/1.1 200"):
                self.failures.append(head.decode())
            self.answers.append((began, body))
            await asyncio.sleep(self.pause)
        writer.close()
