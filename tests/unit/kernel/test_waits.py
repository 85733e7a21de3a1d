"""No call is held up by what another waits for: the event loop goes on while another process writes the same files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ikoma.errors import AuditUnavailable
from ikoma.kernel.audit import head
from ikoma.kernel.audit.chain import verify
from ikoma.kernel.audit.log import AuditLog, Entry

AUDIT = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def kept_by_another(script: str, path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that keeps a file locked inside the block, unless its standard input is closed before."""
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        await asyncio.to_thread(other.stdout.readline)
        try:
            yield other
        finally:
            other.kill()


async def waits(work: Callable[[], Awaitable[object]], script: str, path: Path) -> None:
    """Hold a file locked elsewhere, see that the work waits and the loop does not, and let the work end."""
    async with kept_by_another(script, path) as other:
        working = asyncio.ensure_future(work())
        for _ in range(20):
            began = time.monotonic()
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 1, "the loop stood still"
        assert not working.done()
        other.kill()
        await asyncio.wait_for(working, 20)


def audit(folder: Path) -> AuditLog:
    return AuditLog(folder / "audit.jsonl", folder / "head")


def test_an_intent_waits_for_another_writer_of_the_log_and_nobody_else_does(tmp_path: Path) -> None:
    log = audit(tmp_path)
    asyncio.run(waits(lambda: log.append_durably(Entry("1", "test.write")), AUDIT, tmp_path / "head"))
    assert b'"requestId":"1"' in (tmp_path / "audit.jsonl").read_bytes()


def test_a_read_and_an_anchor_wait_for_another_writer_of_the_log(tmp_path: Path) -> None:
    log = audit(tmp_path)
    asyncio.run(waits(lambda: log.append_with_others(Entry("1", "test.read")), AUDIT, tmp_path / "head"))
    asyncio.run(waits(log.head, AUDIT, tmp_path / "head"))


def test_what_nobody_waits_for_is_written_once_the_log_is_free(tmp_path: Path) -> None:
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            for number in range(3):
                began = time.monotonic()
                log.append_if_possible(Entry(f"{number}", "test.read"))
                assert time.monotonic() - began < 1
        await log.append_with_others(Entry("3", "test.read"))

    asyncio.run(scenario())
    found = verify(tmp_path / "audit.jsonl", tmp_path / "head")
    assert (found.valid, found.entries) == (True, 4)


def test_what_still_waits_at_the_end_is_written_then(tmp_path: Path) -> None:
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            log.append_if_possible(Entry("1", "test.read"))

    asyncio.run(scenario())
    log.close()
    assert verify(tmp_path / "audit.jsonl", tmp_path / "head").entries == 1


def test_a_log_that_another_keeps_for_long_refuses_changes_and_tells_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "PATIENCE", 0.2)
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            with pytest.raises(AuditUnavailable, match="another process keeps it locked"):
                await log.append_durably(Entry("1", "test.write"))
            await log.append_with_others(Entry("2", "test.read"))
        await log.append_durably(Entry("3", "test.write"))

    asyncio.run(scenario())
    found = verify(tmp_path / "audit.jsonl", tmp_path / "head")
    assert (found.valid, found.lost) == (True, 2)
