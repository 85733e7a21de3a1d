"""The port at which PostgreSQL takes TLS: it is opened again, whatever kept it from being opened once."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from ikoma.postgres.server.tls_port import TlsDoor
from tests.support import free_port


def test_a_door_that_could_not_be_opened_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remembered = tmp_path / "tls-port"

    async def scenario() -> None:
        door = TlsDoor(tmp_path, free_port)
        await door.open()
        try:
            port = door.port
            assert port is not None
            remembered.unlink()
            remembered.mkdir()  # neither read nor written
            door.add("127.0.0.2")
            async with asyncio.timeout(60):
                while not caplog.records:
                    await asyncio.sleep(0.01)
            remembered.rmdir()
            remembered.write_text(str(port))
            async with asyncio.timeout(60):
                while not await answers("127.0.0.2", port):
                    await asyncio.sleep(0.05)
        finally:
            await door.close()

    asyncio.run(scenario())
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * len(caplog.records)


async def answers(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True
