"""A web server that answers as no decent one does; it runs in a container of a test's app."""

from __future__ import annotations

import asyncio
import gzip


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        await ANSWERS.get(path, echo)(writer, head)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def say(writer: asyncio.StreamWriter, body: bytes, *headers: str, status: str = "200 OK") -> None:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *headers]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def echo(writer: asyncio.StreamWriter, head: bytes) -> None:
    say(writer, head, "Content-Type: text/plain")


async def redirect(writer: asyncio.StreamWriter, head: bytes) -> None:
    say(writer, b"", "Location: http://169.254.169.254/latest/meta-data/", status="302 Found")


async def silent(writer: asyncio.StreamWriter, head: bytes) -> None:
    await asyncio.sleep(3600)


async def endless(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"more and " * 10_000)
        await writer.drain()


async def drip(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        writer.write(b"data: x\n\n")
        await writer.drain()
        await asyncio.sleep(0.2)


async def bomb(writer: asyncio.StreamWriter, head: bytes) -> None:
    say(writer, gzip.compress(bytes(64 << 20)), "Content-Encoding: gzip", "Content-Type: text/html")


async def cut(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first part")
    await writer.drain()
    await asyncio.sleep(0.3)


async def cookies(writer: asyncio.StreamWriter, head: bytes) -> None:
    say(writer, b"", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", *(f"X-Many-{n}: {n}" for n in range(500)))


async def letters(writer: asyncio.StreamWriter, head: bytes) -> None:
    say(writer, ("é" * 1000).encode(), "Content-Type: text/plain; charset=utf-8")


async def garbage(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9\r\n\x00\xff\r\n")
    await writer.drain()


ANSWERS = {
    f"/{handler.__name__}": handler
    for handler in (redirect, silent, endless, drip, bomb, cut, cookies, letters, garbage)
}


async def main() -> None:
    server = await asyncio.start_server(answer, "0.0.0.0", 3000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
