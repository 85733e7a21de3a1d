"""Questions over the engine's socket: whole answers in any pieces, and nobody gets the answer to another's question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiodocker
import pytest

from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT, EngineSocket

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(folder: Path, answer: Answer) -> AsyncIterator[tuple[EngineSocket, list[int]]]:
    """A server that answers each question so, a socket that asks it, and how many questions each connection had."""
    questions: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(questions)
        questions.append(0)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                questions[number] += 1
                await answer(head.split()[1].decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    path = folder / "engine.sock"
    asked = EngineSocket(str(path))
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield asked, questions
    finally:
        asked.close()
        server.close()


def whole(body: str, head: str = "HTTP/1.1 200 OK") -> bytes:
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def echo(target: str, writer: asyncio.StreamWriter) -> None:
    writer.write(whole(f'"{target}"'))


def test_questions_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with engine(tmp_path, echo) as (asked, questions):
            assert await asked.read("v1/a b/json") == "/v1/a%20b/json"
            assert await asked.read("v1/c", {"all": "1", "filters": '{"a":["b=c"]}'}) == (
                "/v1/c?all=1&filters=%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D"
            )
            assert questions == [2]

    asyncio.run(scenario())


def test_questions_at_once_have_a_connection_each(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with engine(tmp_path, echo) as (asked, questions):
            names = [str(number) for number in range(9)]
            assert await asyncio.gather(*map(asked.read, names)) == [f"/{name}" for name in names]
            assert await asyncio.gather(*map(asked.read, names)) == [f"/{name}" for name in names]
            assert sum(questions) == 18
            assert len(questions) < 18, "some were kept"

    asyncio.run(scenario())


def test_an_answer_in_chunks_and_pieces_is_read_whole(tmp_path: Path) -> None:
    async def answer(target: str, writer: asyncio.StreamWriter) -> None:
        for (
            byte
        ) in b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n["a\r\n3;x=y\r\nb",\r\n2\r\n7]\r\n0\r\n\r\n':
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with engine(tmp_path, answer) as (asked, questions):
            assert [await asked.read("a"), await asked.read("b")] == [["ab", 7]] * 2
            assert questions == [2]

    asyncio.run(scenario())


def test_a_kept_connection_that_the_engine_has_closed_is_replaced(tmp_path: Path) -> None:
    async def answer(target: str, writer: asyncio.StreamWriter) -> None:
        if target == "/last":
            writer.close()  # the engine goes away with the question
            return
        await echo(target, writer)

    async def scenario() -> None:
        async with engine(tmp_path, answer) as (asked, questions):
            assert await asked.read("first") == "/first"
            with pytest.raises(aiodocker.DockerError) as raised:
                await asked.read("last")
            assert raised.value.status == COULD_NOT_CONNECT
            assert questions == [2, 1], "it was asked once more, on a new connection, and not for ever"
            assert await asked.read("again") == "/again"

    asyncio.run(scenario())


def test_who_says_that_the_connection_ends_is_not_asked_on_it_again(tmp_path: Path) -> None:
    async def answer(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("1", "HTTP/1.1 200 OK\r\nConnection: close"))

    async def scenario() -> None:
        async with engine(tmp_path, answer) as (asked, questions):
            assert [await asked.read("a"), await asked.read("b")] == [1, 1]
            assert questions == [1, 1]

    asyncio.run(scenario())


def test_an_answer_to_one_who_has_left_reaches_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        late, came = asyncio.Event(), asyncio.Event()

        async def answer(target: str, writer: asyncio.StreamWriter) -> None:
            if target == "/slow":
                came.set()
                await late.wait()
            await echo(target, writer)

        async with engine(tmp_path, answer) as (asked, _):
            assert await asked.read("first") == "/first"
            leaver = asyncio.ensure_future(asked.read("slow"))
            await came.wait()
            leaver.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaver
            late.set()
            assert await asked.read("next") == "/next"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (whole('{"message":"no such container"}', "HTTP/1.1 404 Not Found"), "no such container"),
        (whole("out of order", "HTTP/1.1 404 Not Found"), "out of order"),
    ],
)
def test_a_refusal_is_told_in_the_engines_words(tmp_path: Path, said: bytes, message: str) -> None:
    async def answer(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async def scenario() -> None:
        async with engine(tmp_path, answer) as (asked, _):
            with pytest.raises(aiodocker.DockerError) as raised:
                await asked.read("containers/x/json")
            assert (raised.value.status, raised.value.message) == (404, message)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_whole_is_no_answer(tmp_path: Path, said: bytes) -> None:
    async def answer(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def scenario() -> None:
        async with engine(tmp_path, answer) as (asked, _):
            with pytest.raises(aiodocker.DockerError) as raised:
                await asked.read("containers/json")
            assert raised.value.status == COULD_NOT_CONNECT

    asyncio.run(scenario())


def test_where_nobody_listens_there_is_no_connection(tmp_path: Path) -> None:
    with pytest.raises(aiodocker.DockerError) as raised:
        asyncio.run(EngineSocket(str(tmp_path / "engine.sock")).read("version"))
    assert raised.value.status == COULD_NOT_CONNECT
